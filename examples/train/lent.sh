#!/bin/bash
# Training on a machine that is lent for some minutes, bare each time, without network; docs/training.md says how to call it.
#   lent.sh pack FOLDER SHARED   here: the material and the scored clips as FOLDER/part.1, part.2, ... of 19 MB
#   lent.sh keep FOLDER          there, first call: keep this checkout, with its weights, and part.1
#   lent.sh train FOLDER MINUTES CALL [ARGUMENTS]   there: unpack, train MINUTES in all, CALL minutes in this call; resumes by itself
#   lent.sh score                there: whole clips, the network alone and the program, before and after
# What comes back lies in $OUT. CONFIG, WORK, PYTHON and EVALUATE (arguments) are for rehearsals.
set -eu
work=${WORK:-/tmp/lent} python=${PYTHON:-python3} out=${OUT:-/tmp/out} config=${CONFIG:-examples/train/continue.toml}
run=$work/run
mkdir -p "$work" "$out"
verb=${1:-}
trap 'echo "$verb: after $SECONDS s"' EXIT

needs() { [ -e "$1" ] || { echo "no $1: the machine was given back, start with keep"; exit 9; }; }
pack_run() {
  cp "$run/log.jsonl" "$out/"
  "$python" -m e2fgvi_cli train plot "$run" && cp "$run/curves.png" "$out/"
  local newest; newest=$(ls -t "$run"/samples/validation_*.png 2>/dev/null | head -1); [ -z "$newest" ] || cp "$newest" "$out/validation.png"
  [ ! -e "$run/best.safetensors" ] || split -b 15M -d "$run/best.safetensors" "$out/best."
}

case $verb in
pack)
  python3 -m e2fgvi_cli train files "$config" --set "data.root=$3/train" | sed "s|^$3/||" >"$2/files"
  tar -C "$3" -cf - --exclude=object -T "$2/files" eval | xz -3 -T0 | split -b 19000000 -a 1 --numeric-suffixes=1 - "$2/part."
  ls -l "$2"
  ;;
keep)
  needs "$2/part.1"
  mkdir -p "$work/repo" "$work/parts" && cp -a . "$work/repo/" && cp "$2/part.1" "$work/parts/"
  ;;
train)
  needs "$work/repo/release_model"
  if [ ! -d "$work/shared" ]; then
    needs "$2/part.2"
    cp "$2"/part.[2-9] "$work/parts/" && mkdir "$work/shared.new" && cat "$work"/parts/part.* | xz -dc -T0 | tar -C "$work/shared.new" -xf -
    mv "$work/shared.new" "$work/shared"
  fi
  cd "$work/repo"
  resume=; [ ! -e "$run/state.pt" ] || resume=--resume
  "$python" -m e2fgvi_cli train "$config" --set "data.root=$work/shared/train" --set "folder=$run" --set "minutes=$3" --call-minutes "$4" $resume "${@:5}"
  pack_run
  ;;
score)
  needs "$run/best.safetensors"
  cd "$work/repo"
  evaluate() { "$python" -m e2fgvi_cli train evaluate "$work/shared/eval" --no-baselines ${EVALUATE:-} "${@:2}" -o "$out/$1.json" >"$out/$1.txt" 2>&1; }
  evaluate network --weights "$run/best.safetensors" --sheets "$work/sheets" &
  evaluate program --weights "$run/best.safetensors" --image-propagation &
  evaluate before &
  evaluate program-before --image-propagation &
  wait
  grep -H mean "$out"/*.txt
  (cd "$work/sheets" && tar -cf "$out/sheets.tar" ./*.png)
  ;;
*)
  sed -n 2,8p "$0"
  exit 2
  ;;
esac
