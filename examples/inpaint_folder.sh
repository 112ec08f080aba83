#!/usr/bin/env bash
# Fill every clip of a folder, one after the other.
#
#   examples/inpaint_folder.sh CLIPS RESULTS [options of e2fgvi inpaint]
#   examples/inpaint_folder.sh examples results --device cpu
#
# A clip is a folder CLIPS/NAME with the video as video.* or frames/, and its masks as masks/, masks.* or mask.*;
# examples/garage is one. Results go to RESULTS/NAME.mp4; a clip whose result exists is skipped. A clip that fails
# does not stop the others: the script then ends with code 6.
set -u
shopt -s nullglob

if [ "$#" -lt 2 ]; then
  sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
clips=$1 results=$2
shift 2
if [ ! -d "$clips" ]; then
  echo "$clips is no folder: give one that holds a folder for each clip" >&2
  exit 3
fi

# The first of the given paths that exists, or nothing.
first_of() {
  local path
  for path in "$@"; do
    if [ -e "$path" ]; then printf '%s\n' "$path"; return; fi
  done
}

mkdir -p "$results" || exit 3
found=0 failed=0
for clip in "$clips"/*/; do
  clip=${clip%/}
  name=$(basename "$clip")
  video=$(first_of "$clip"/video.* "$clip/frames")
  mask=$(first_of "$clip/masks" "$clip"/masks.* "$clip"/mask.*)
  if [ -z "$video" ] || [ -z "$mask" ]; then continue; fi
  found=$((found + 1))
  if [ -e "$results/$name.mp4" ]; then
    echo "$name: $results/$name.mp4 exists, skipped" >&2
    continue
  fi
  echo "$name" >&2
  # "</dev/null": the command must not eat the loop's input.
  e2fgvi inpaint --video "$video" --mask "$mask" --output "$results/$name.mp4" "$@" </dev/null
  code=$?
  if [ "$code" -eq 130 ]; then exit 130; fi
  if [ "$code" -ne 0 ]; then
    echo "$name: failed with code $code" >&2
    failed=$((failed + 1))
  fi
done

if [ "$found" -eq 0 ]; then
  echo "$clips holds no clip: each needs a folder with a video and masks" >&2
  exit 3
fi
if [ "$failed" -gt 0 ]; then
  echo "$failed of $found clips failed" >&2
  exit 6
fi
