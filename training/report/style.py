"""Colours and layout of `report.html`.

The two lines are the blue and the orange of Okabe and Ito, which colour-blind readers tell apart, darkened on
paper until text in them keeps a contrast of 4.5:1;
 the lines differ in dashes too. Printing always takes the light
theme.
"""

LIGHT = {
    "paper": "#ffffff",
    "panel": "#f5f6f7",
    "ink": "#1b1f23",
    "muted": "#59626b",
    "rule": "#e1e4e8",
    "train": "#b34f00",
    "val": "#0072b2",
    "right": "#0b5a8f",
    "wrong": "#c04c00",
}
DARK = {
    "paper": "#14171a",
    "panel": "#1d2125",
    "ink": "#e7e9eb",
    "muted": "#a2abb4",
    "rule": "#30363c",
    "train": "#e69f00",
    "val": "#56b4e9",
    "right": "#56b4e9",
    "wrong": "#f0a030",
}
LEVELS = 10  # steps of shading in the confusion matrix


def luminance(colour: str) -> float:
    """Relative luminance as the WCAG defines it."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours, 1 to 21."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def ramp(theme: dict[str, str], kind: str) -> list[tuple[str, str]]:
    """(background, text) of each level of shading; one of black and white always reads on it."""
    colours = []
    for level in range(1, LEVELS + 1):
        share = 0.06 + 0.94 * level / LEVELS
        mixed = (
            round((1 - share) * int(theme["paper"][i : i + 2], 16) + share * int(theme[kind][i : i + 2], 16))
            for i in (1, 3, 5)
        )
        background = "#" + "".join(f"{channel:02x}" for channel in mixed)
        colours.append((background, max("#000000", "#ffffff", key=lambda ink: contrast(ink, background))))
    return colours


def _variables(theme: dict[str, str]) -> str:
    lines = [f"--{key}:{value}" for key, value in theme.items()]
    for kind in ("right", "wrong"):
        for level, (background, ink) in enumerate(ramp(theme, kind), 1):
            lines += [f"--{kind}{level}:{background}", f"--{kind}{level}-ink:{ink}"]
    return ";".join(lines)


def _levels() -> str:
    return "".join(
        f".{kind}{n}{{background:var(--{kind}{n});color:var(--{kind}{n}-ink);fill:var(--{kind}{n})}}\n"
        for kind in ("right", "wrong")
        for n in range(1, LEVELS + 1)
    )


LAYOUT = """
*{box-sizing:border-box}
html{font:16px/1.55 -apple-system,BlinkMacSystemFont,"Segoe UI",Roboto,"Noto Sans",system-ui,sans-serif;
color:var(--ink);background:var(--paper);-webkit-text-size-adjust:100%;text-size-adjust:100%}
body{max-width:61rem;margin:0 auto;padding:2.5rem clamp(1rem,4vw,2rem) 4rem}
h1{font-size:clamp(1.6rem,5vw,2.25rem);line-height:1.2;letter-spacing:-.02em;font-weight:650;margin:0;
overflow-wrap:anywhere}
h2{font-size:1.3rem;letter-spacing:-.01em;font-weight:650;margin:0 0 .4rem}
h3{font-size:1rem;font-weight:650;margin:2rem 0 .4rem}
p{margin:0 0 1rem;max-width:42rem}
a{color:var(--val);text-underline-offset:.2em}
section{margin-top:3.25rem;padding-top:1.75rem;border-top:1px solid var(--rule)}
figure{margin:0}
bdi{display:inline-block;max-width:100%;overflow-wrap:anywhere;vertical-align:top}
table bdi{max-width:20rem;overflow-wrap:break-word}
code{font:.875em/1.5 ui-monospace,"SF Mono","Cascadia Code",Menlo,Consolas,"Liberation Mono",monospace}
:focus-visible{outline:2px solid var(--val);outline-offset:2px}
.keep{white-space:nowrap}
.notice{border-left:3px solid var(--train);padding-left:.8rem}
.muted,caption,figcaption,.note{color:var(--muted)}
.kicker{color:var(--muted);margin:0 0 .3rem;font-size:.875rem}
.again{margin:1.5rem 0 0;font-weight:650;color:var(--ink)}
.kicker+h1+p{margin-top:.4rem}
nav ul{list-style:none;display:flex;flex-wrap:wrap;gap:.25rem 1.25rem;padding:0;margin:1.75rem 0 0;
font-size:.9rem}
.tiles{display:flex;flex-wrap:wrap;gap:1.5rem 1.9rem;margin:2.25rem 0 2rem}
.tiles .first{min-width:min(100%,18rem)}
.tiles dt{font-size:.875rem;color:var(--muted)}
.tiles dd{margin:0;font-size:1.5rem;line-height:1.3;font-weight:600;letter-spacing:-.015em;
font-variant-numeric:tabular-nums}
.tiles .first dd{font-size:clamp(2.75rem,11vw,3.75rem);line-height:1.1;letter-spacing:-.035em}
.tiles .long dd{font-size:clamp(2rem,8.5vw,3.75rem)}
.tiles dd+dd,.tiles .first dd+dd{font-size:.875rem;line-height:1.45;font-weight:400;letter-spacing:0;
color:var(--muted);margin-top:.2rem}
pre{margin:.35rem 0 0;padding:.85rem 1rem;background:var(--panel);border-radius:.4rem;white-space:pre;
overflow-x:auto;user-select:all}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,19rem),1fr));gap:2rem 2.5rem;
align-items:start}
.pair>*{min-width:0}
.pair table bdi{max-width:8rem}
.scroll+.note{margin-top:.75rem}
.beside{display:flex;flex-wrap:wrap;gap:1.5rem 3.5rem;align-items:flex-start}
.beside h3,.pair h3{margin-top:0}
.beside>*{min-width:0;max-width:100%}
.beside>:last-child:not(:first-child){flex:1 1 17rem}
.scroll{overflow-x:auto;max-width:100%}
.tall{max-height:32rem;overflow-y:auto}
.tall thead th{position:sticky;top:0;background:var(--paper)}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}
caption{text-align:left;font-size:.875rem;padding-bottom:.5rem}
th,td{text-align:left;padding:.32rem .9rem .32rem 0;border-bottom:1px solid var(--rule);vertical-align:top}
th{font-weight:400}
thead th{font-weight:500;font-size:.8125rem;color:var(--muted);vertical-align:bottom}
tfoot th,tfoot td{border-bottom:0;font-weight:600}
.n{text-align:right;white-space:nowrap}
th:last-child,td:last-child{padding-right:0}
.wide{width:100%;max-width:46rem}
.keys tbody th{width:10rem}
.keys th{white-space:nowrap;color:var(--muted);font-weight:400;padding-right:1.5rem}
.keys td{overflow-wrap:anywhere;min-width:9rem;white-space:pre-wrap}
.keys .changed{font-weight:650}
details{margin-top:1.25rem}
summary{cursor:pointer;color:var(--muted);font-size:.9rem;padding:.25rem 0}
svg{display:block;width:100%;height:auto;overflow:visible}
svg text{font:11.5px -apple-system,BlinkMacSystemFont,"Segoe UI",Roboto,"Noto Sans",system-ui,sans-serif;
fill:var(--muted);font-variant-numeric:tabular-nums}
svg .strong{font-weight:600}
svg .train{stroke:var(--train);stroke-dasharray:5 3}
svg .val,svg .only{stroke:var(--val)}
svg path.train,svg path.val,svg path.only{fill:none;stroke-width:1.9;stroke-linejoin:round;
stroke-linecap:round}
svg path.train{stroke-linecap:butt}
svg path.thin{stroke-width:1;stroke-opacity:.45;stroke-dasharray:none}
svg circle{stroke-width:1.5;stroke-dasharray:none!important}
svg circle.train{fill:var(--paper)}
svg circle.val,svg circle.only{fill:var(--val)}
svg circle.ring{fill:none;stroke:var(--ink);stroke-width:1.2}
svg text.train{fill:var(--train);stroke:none}
svg text.val,svg text.only{fill:var(--val);stroke:none}
svg .grid{stroke:var(--rule)}
svg .axis{stroke:var(--muted)}
svg .drop{stroke:var(--muted);stroke-dasharray:1.5 2.5}
svg .ideal{stroke:var(--muted);stroke-dasharray:4 3}
svg .soft{fill-opacity:.75}
svg path.band{stroke:none;fill-opacity:.17}
svg path.band.val{fill:var(--val)}
svg path.band.train{fill:var(--train)}
svg circle.open{fill:none;stroke-width:2}
.mark{display:inline-block;width:.7em;height:.7em;border-radius:50%;border:2px solid var(--val);margin:0 .3em 0 .8em}
td .mark,th .mark{margin-left:0}
.mark.full{background:var(--val)}
.mark.open{border-color:var(--train)}
svg .frame{fill:var(--panel)}
.chart figcaption,.pace caption{font-weight:600;color:var(--ink);font-size:.95rem;margin-bottom:.35rem}
.chart figcaption span{font-weight:400;color:var(--muted);font-size:.875rem}
.matrix figcaption{max-width:32rem;font-size:.875rem;margin-bottom:.5rem}
.matrix table{font-size:.85rem;border-collapse:separate;border-spacing:2px;margin:.25rem 0}
.matrix th,.matrix td{border:0;padding:0}
.matrix td{width:2.5rem;min-width:2.1rem;height:2.3rem;text-align:center;vertical-align:middle;
border-radius:3px}
:where(.matrix td){background:var(--panel);color:var(--muted)}
.matrix tbody th{text-align:right;vertical-align:middle;padding-right:.6rem;position:sticky;left:0;
background:var(--paper)}
.matrix tbody th bdi{display:block;max-width:9rem;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.matrix thead th{text-align:center}
.matrix .upright bdi{writing-mode:vertical-rl;transform:rotate(180deg);max-height:8.5rem;overflow:hidden;
text-overflow:ellipsis;white-space:nowrap;display:inline-block;line-height:1.3}
.matrix td.total{background:none}
.matrix .total{text-align:right;padding-left:.6rem}
_LEVELS_
.heat{max-width:34rem}
.shots{display:grid;grid-template-columns:repeat(auto-fill,minmax(8.5rem,1fr));gap:1.5rem 1.1rem;
margin:1rem 0 0;
padding:0;list-style:none}
.shots img{display:block;width:100%;max-width:10rem;aspect-ratio:1;object-fit:contain;background:var(--panel);
border-radius:.25rem}
.shots img.tiny{image-rendering:pixelated}
.shots figcaption{font-size:.78rem;line-height:1.5;margin-top:.5rem;max-width:10rem;
font-variant-numeric:tabular-nums}
.shots dl{display:grid;grid-template-columns:auto 1fr;gap:0 .4rem;margin:0}
.shots dd{margin:0;color:var(--ink);min-width:0;max-height:4.5em;overflow:hidden}
.scenes{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,17rem),1fr));gap:1.25rem 2rem;
margin:1rem 0 0;padding:0;list-style:none}
.scenes img{display:block;width:100%;aspect-ratio:1;object-fit:contain;background:var(--panel)}
.scenes img.tiny{image-rendering:pixelated}
.scenes figcaption{font-size:.8125rem;margin-top:.35rem}
.triple{display:grid;grid-template-columns:repeat(3,1fr);gap:.25rem}
.filters{display:block;background:var(--rule);border:.25rem solid var(--rule);width:100%;
max-width:22rem;image-rendering:pixelated}
.scale{display:inline-block;width:4.5em;height:.7em;border-radius:.15em;
background:linear-gradient(90deg,#00224e,#434e6c,#7d7c78,#bcaf6f,#fee838)}
.swatch{display:inline-block;width:.8em;height:.8em;border-radius:.15em;vertical-align:-.05em}
footer{margin-top:4rem;padding-top:1rem;border-top:1px solid var(--rule);font-size:.875rem;color:var(--muted)}
@media screen and (max-width:40rem){
section{margin-top:2.5rem;padding-top:1.5rem}
th,td{padding-right:.35rem}
table{font-size:.8125rem}
pre{white-space:pre-wrap;overflow-wrap:anywhere}
table bdi{max-width:11rem}
svg text{font-size:13px}
.matrix table{font-size:.8rem;border-spacing:1px}
.matrix td{width:1.5rem;min-width:1.5rem;height:1.75rem}
.matrix tbody th bdi{max-width:6.5rem}
}
@media print{
@page{margin:16mm}
html{font-size:10pt}
body{max-width:none;padding:0}
nav{display:none}
section{margin-top:1.5rem;padding-top:1rem}
.tiles{margin:1.25rem 0;gap:1rem 2rem}
.tiles .first{min-width:15rem}
details:not([open]){display:none}
tfoot{display:table-row-group}
section>p{break-after:avoid}
p,figure,tr,li,.tiles div,pre{break-inside:avoid}
h2,h3,caption,thead,tr:nth-child(-n+2){break-after:avoid}
.scroll,.tall{overflow:visible;max-height:none}
pre{white-space:pre-wrap;overflow-wrap:anywhere}
table bdi{overflow-wrap:anywhere}
.matrix td{width:auto;min-width:1.6rem;height:1.7rem}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}
}
"""

CSS = (
    f":root{{color-scheme:light dark;{_variables(LIGHT)}}}\n"
    f"@media screen and (prefers-color-scheme:dark){{:root{{{_variables(DARK)}}}}}"
    + LAYOUT.replace("_LEVELS_", _levels())
)
