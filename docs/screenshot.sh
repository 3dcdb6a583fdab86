#!/bin/sh
# Pictures a run's report, in a light or dark window of any size, from its top or from a section on. Needs Chromium
# (Debian: apt-get install chromium). The README's picture, and those of docs/report.md:
#
#   convcraft train squeezenet_digits --output runs/squeezenet_digits
#   docs/screenshot.sh runs/squeezenet_digits/report.html docs/report.png
#
#   convcraft train resnet20_cifar10 --data cifar10_jpeg --epochs 24 --precision mixed_bfloat16 --output runs/resnet20
#   convcraft train vgg_cifar10 --data cifar10_jpeg --epochs 24 --schedule onecycle --precision mixed_bfloat16 \
#     --width 0.35 --output runs/vgg
#   convcraft report runs/vgg runs/resnet20
#   docs/screenshot.sh runs/resnet20/report.html#uncertain docs/report-dark.png dark 1000x1500
#   docs/screenshot.sh runs/resnet20/report.html docs/report-phone.png light 360x1500
#   docs/screenshot.sh runs/vgg/against-resnet20.html docs/report-comparison.png light 1000x1500
set -eu

address=${1:?Expected the path of a report.html}
picture=${2:-docs/report.png}
theme=${3:-light}
size=${4:-1200x1500}
report=$(realpath "${address%%#*}")
case $address in *'#'*) section="#${address#*#}" ;; *) section= ;; esac
case $theme in light) scheme=1 ;; dark) scheme=0 ;; *) echo "Expected light or dark, received $theme" >&2; exit 2 ;; esac
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# in a frame of its own: a window cannot be as narrow as a phone
cat > "$work/frame.html" <<END
<!doctype html><style>body{margin:0}iframe{border:0;display:block;width:${size%x*}px;height:${size#*x}px}</style>
<iframe src="file://$report$section"></iframe>
END

"$browser" --headless --no-sandbox --disable-gpu --disable-background-networking --disable-component-update \
  --disable-sync --no-first-run --hide-scrollbars --user-data-dir="$work/profile" --window-size="${size%x*},${size#*x}" \
  --blink-settings=preferredColorScheme=$scheme --screenshot="$picture" "file://$work/frame.html"
