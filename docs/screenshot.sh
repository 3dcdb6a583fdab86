#!/bin/sh
# Pictures the top of a run's report for the README. Needs Chromium (Debian: apt-get install chromium).
#
#   convcraft train squeezenet_digits --output runs/squeezenet_digits
#   docs/screenshot.sh runs/squeezenet_digits/report.html docs/report.png
set -eu

report=$(realpath "${1:?Expected the path of a report.html}")
picture=${2:-docs/report.png}
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome)
profile=$(mktemp -d)
trap 'rm -rf "$profile"' EXIT

"$browser" --headless --no-sandbox --disable-gpu --disable-background-networking --disable-component-update \
  --disable-sync --no-first-run --hide-scrollbars --user-data-dir="$profile" --window-size=1200,1500 \
  --screenshot="$picture" "file://$report"
