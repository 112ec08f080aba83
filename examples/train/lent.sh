#!/bin/bash
# Training on a machine that is lent for some minutes, bare each time, without network; docs/training.md says how to call it.
#   lent.sh pack FOLDER SHARED   here: the material and the scored clips as FOLDER/part.1, part.2, ... of 19 MB
#   lent.sh keep FOLDER          there, first call: keep this checkout, with its weights, and part.1
#   lent.sh train FOLDER MINUTES CALL [ARGUMENTS]...   there: unpack, train MINUTES in all, of which this call waits CALL; call it again to wait on.
#                                One ARGUMENTS (a string) for each run; several runs take a GPU each, one run takes all GPUs. The weights
#                                of the last one named come back with every call, as it last saved them
#   lent.sh score [latest]       there: whole clips, the network alone and the program, and sheets, for every run: its best weights (by its own held-out clips),
#                                or its latest, for runs that decibels do not judge; of several runs their mean too, without sheets; and the best weights of all these
# Runs go on between calls, and what a machine kills of them is resumed. What comes back lies in $OUT: at most 8 files of 16 MiB.
# CONFIG, WORK, PYTHON, GPUS and EVALUATE (arguments) are for rehearsals.
set -eu
work=${WORK:-/tmp/lent}
export PYTHONPYCACHEPREFIX=$work/bytecode
python=${PYTHON:-python3} out=${OUT:-/tmp/out} config=${CONFIG:-examples/train/continue.toml}
export OPENCV_FOR_THREADS_NUM=1 PYTHONUNBUFFERED=1
mkdir -p "$work" "$out"
verb=${1:-}
trap 'echo "$verb: after $SECONDS s"' EXIT

needs() { [ -e "$1" ] || { echo "no $1: the machine was given back, start with keep"; exit 9; }; }
# Before each line of a run: seconds since it was started. A quarter of a call once passed before the first step, and no log said with what.
stamp='since=$EPOCHSECONDS; while IFS= read -r line; do echo "$((EPOCHSECONDS - since)) s: $line"; done'
alive() { [ -e "$1/pid" ] && kill -0 "$(cat "$1/pid")" 2>/dev/null; }
finished() { grep -q 'run complete' "$1/output" 2>/dev/null; }

# start RUN GPUS MINUTES [ARGUMENTS]: in a session of its own, so that it outlives this call
start() {
  local run=$1 gpus=$2 minutes=$3 resume=
  shift 3
  mkdir -p "$run"
  [ ! -e "$run/state.pt" ] || resume=--resume
  local program="$python -m e2fgvi_cli"
  [ "${#gpus}" -lt 2 ] || program="$python -m torch.distributed.run --standalone --nproc_per_node $(tr , '\n' <<<"$gpus" | wc -l) -m e2fgvi_cli"
  # shellcheck disable=SC2086
  CUDA_VISIBLE_DEVICES=$gpus setsid nohup $program train "$config" --set "data.root=$work/shared/train" --set "folder=$run" --set "minutes=$minutes" $resume $* \
    > >(setsid bash -c "$stamp" >>"$run/output") 2>&1 </dev/null &
  echo $! >"$run/pid"
}

case $verb in
pack)
  mkdir -p "$2"
  python3 -m e2fgvi_cli train files "$config" --set "data.root=$3/train" | sed "s|^$3/||" >"$2/files"
  tar -C "$3" -cf - --exclude=object -T "$2/files" eval | xz -3 -T0 | split -b 19000000 -a 1 --numeric-suffixes=1 - "$2/part."
  ls -l "$2"
  ;;
keep)
  needs "$2/part.1"
  mkdir -p "$work/repo" "$work/parts" && cp -a . "$work/repo/" && cp "$2/part.1" "$work/parts/"
  # A bare machine has nothing in its file cache: what will be loaded is read while the next call travels. Presumably that is where most of the
  # 100 s before a first score go. Nor does Python keep bytecode of what is installed there, so it is compiled once.
  libraries=$("$python" -c 'import importlib.util as u; print(*(p for n in ("torch", "nvidia", "triton") if (s := u.find_spec(n)) for p in s.submodule_search_locations))')
  # shellcheck disable=SC2086
  setsid nohup bash -c 'find "$@" -name "*.so*" -type f -print0 | xargs -0 -n 2 -P 8 cat >/dev/null; echo "libraries read in $SECONDS s" >"$0"' \
    "$work/libraries" $libraries </dev/null >/dev/null 2>&1 &
  # shellcheck disable=SC2046
  "$python" -m compileall -qq -j 0 $("$python" -c 'import importlib.util as u, os; print(*(os.path.dirname(s.origin) for n in ("torch", "torchvision", "triton", "sympy", "mpmath", "numpy", "typer", "rich") if (s := u.find_spec(n)) and s.origin))') ||
    echo "bytecode: not all compiled"
  ;;
train)
  needs "$work/repo/release_model"
  if [ ! -d "$work/shared" ]; then
    needs "$2/part.2"
    cp "$2"/part.[2-9] "$work/parts/" && mkdir "$work/shared.new" && cat "$work"/parts/part.* | xz -dc -T0 | tar -C "$work/shared.new" -xf -
    mv "$work/shared.new" "$work/shared"
  fi
  cd "$work/repo"
  minutes=$3 until=$(awk "BEGIN { print int($4 * 60) }")
  gpus=${GPUS:-$(nvidia-smi -L | wc -l)}
  [ $# -gt 4 ] && runs=("${@:5}") || runs=("")
  for i in "${!runs[@]}"; do
    run=$work/run-$i chosen=$i
    [ ${#runs[@]} -gt 1 ] || chosen=$(seq -s, 0 $((gpus - 1)))
    alive "$run" || finished "$run" || start "$run" "$chosen" "$minutes" ${runs[$i]}
  done
  while [ "$SECONDS" -lt "$until" ]; do
    going=
    for run in "$work"/run-?; do finished "$run" || { alive "$run" && going=1; }; done
    [ -n "$going" ] || break
    sleep 2
  done
  cat "$work/libraries" || echo "libraries not read yet"
  for run in "$work"/run-?; do
    cp "$run/log.jsonl" "$out/$(basename "$run").jsonl" || true
    echo "== $run"; grep -vE '^[0-9]+ s: step .* samples/s' "$run/output" | tail -n 12; tail -n 2 "$run/output"
  done
  # Whoever calls may be cut off before the next call, and the machine goes back: nothing may be only there.
  if [ -e "$run/state.pt" ]; then
    "$python" -m e2fgvi_cli train export "$run" -o "$run/latest.safetensors" && split -b 15M -d "$run/latest.safetensors" "$out/latest."
  fi
  ;;
score)
  cd "$work/repo"
  evaluate() { CUDA_VISIBLE_DEVICES=$2 "$python" -m e2fgvi_cli train evaluate "$work/shared/eval" --no-baselines ${EVALUATE:-} "${@:3}" -o "$work/$1.json" >"$work/$1.txt" 2>&1; }
  gpus=${GPUS:-$(nvidia-smi -L | wc -l)}
  [ "$gpus" -gt 0 ] || gpus=1
  number=0
  measure() {
    evaluate "$1-network" $((number % gpus)) --weights "$2" "${@:3}" &
    evaluate "$1-program" $((number % gpus)) --weights "$2" --image-propagation &
    number=$((number + 1))
  }
  file=${2:-best}.safetensors all=()
  for run in "$work"/run-?; do
    name=$(basename "$run") weights=$run/$file
    [ "$file" = best.safetensors ] || "$python" -m e2fgvi_cli train export "$run" -o "$weights"
    needs "$weights"
    all+=("$weights")
    measure "$name" "$weights" --sheets "$work/sheets-$name"
  done
  if [ ${#all[@]} -gt 1 ]; then
    mkdir -p "$work/mean" && "$python" -m e2fgvi_cli train average "${all[@]}" -o "$work/mean/$file"
    measure mean "$work/mean/$file"
  fi
  wait
  # The mean over both kinds of holes decides.
  best=$("$python" - "$work" <<'P'
import glob, json, sys
found = {}
for path in sorted(glob.glob(f"{sys.argv[1]}/*-network.json")):
    means = json.load(open(path))["means"]["network"]
    found[path[: -len("-network.json")]] = sum(m["hole_psnr"] for m in means.values()) / len(means)
    print(path, {k: m["hole_psnr"] for k, m in means.items()}, file=sys.stderr)
print(max(found, key=found.get))
P
)
  echo "best: $best"
  for run in "$work"/run-?; do "$python" -m e2fgvi_cli train plot "$run" && cp "$run/curves.png" "$work/$(basename "$run").png"; done
  tar -C "$work" -czf "$out/scores.tgz" $(cd "$work" && ls ./*.json ./*.txt ./*.png)
  # Of every run: the best by its figures need not be the best to look at. As JPEG they stay below the 16 MiB.
  for sheets in "$work"/sheets-*; do
    (cd "$sheets" && "$python" -c 'import cv2, glob; [cv2.imwrite(p[:-3] + "jpg", cv2.imread(p)) for p in glob.glob("*.png")]' && tar -cf "$out/$(basename "$sheets").tar" ./*.jpg)
  done
  split -b 15M -d "$best/$file" "$out/best."
  ;;
*)
  sed -n 2,11p "$0"
  exit 2
  ;;
esac
