"""One of the processes of test_distribute.py; prints what it saw as JSON."""

import json
import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
from convcraft.training import distribute

task, *arguments = sys.argv[1:]


def fit():
    strategy = distribute.strategy("multiworker" if "TF_CONFIG" in os.environ else None)
    import keras
    import numpy as np
    import test_distribute

    found = test_distribute.images(40)
    with distribute.scope(strategy):
        model = test_distribute.build(found, rate=0.01)
    replicas = distribute.replicas(strategy)
    feed = found.feed("train", multiple_of=replicas)
    val = found.feed("val", batch_size=8, multiple_of=replicas)

    class Epoch(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            feed.epoch = epoch

    history = model.fit(
        feed.dataset(), validation_data=val.dataset(), epochs=2, verbose=0, callbacks=[Epoch()], shuffle=False
    ).history
    return {
        "replicas": replicas,
        "history": history,
        "evaluate": model.evaluate(val.dataset(), verbose=0, return_dict=True),
        "predict": np.asarray(model.predict(val.dataset(), verbose=0))[:10].tolist(),
    }


def run():
    from convcraft.training import run

    done = run("squeezenet_digits", {"smoke": True, "strategy": "multiworker"}, arguments[0])
    return {"chief": done.chief, "metrics": done.metrics, "directory": str(done.directory)}


print("RESULT" + json.dumps({"fit": fit, "run": run}[task]()))
