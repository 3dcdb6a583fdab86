"""Tables in documents, between two comments that name the script which makes them."""


def between(text: str, mark: str, script: str, content: str) -> str:
    """A document with `content` of now between its two comments of this mark."""
    begin, end = f"<!-- {mark}: begin, by {script} -->", f"<!-- {mark}: end -->"
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"Expected {begin} and {end} in the document.")
    return f"{before}{begin}\n{content}\n{end}{after}"
