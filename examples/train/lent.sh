#!/bin/bash
# Training on a machine that is lent for some minutes, bare each time, without network; docs/training.md says how to call it.
#   lent.sh pack FOLDER SHARED   here: the material, pictures no larger than they are stored, and the scored clips as FOLDER/part.1, part.2, ... of 15 MB;
#                                and this checkout's program as FOLDER/code, so that it may be called from another one that goes on changing
#   lent.sh keep FOLDER          there, first call: keep the calling checkout's weights, FOLDER/code and part.1
#   lent.sh send FOLDER          there, a call for each further part that does not fit beside the weights into 64 MiB: keep the parts that came along
#   lent.sh train FOLDER MINUTES CALL [ARGUMENTS]...   there: unpack, train MINUTES in all, of which this call waits CALL; call it again to wait on.
#                                One ARGUMENTS (a string) for each run; the GPUs are divided evenly among the runs. The weights
#                                of the last two named come back with every call, as they were last saved. The call that ends the training does nothing else: score in the next
#   lent.sh score [latest]       there: whole clips, the network alone and the program, and sheets, for every run: its best weights (by its own held-out clips),
#                                or its latest, for runs that decibels do not judge; of several runs their mean too, and that mean with the start's weights, without sheets; and the best weights of all these
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
  "$python" -m e2fgvi_cli train files "$config" --set "data.root=$3/train" | sed "s|^$3/||" >"$2/files"
  # A photograph of 1600 pixels is stored at 720: it need not travel larger.
  "$python" - "$3" "$2" <<'P'
import shutil, sys
from pathlib import Path
import cv2
shared, folder = map(Path, sys.argv[1:])
stage = folder / "stage"
shutil.rmtree(stage, ignore_errors=True)
for name in (folder / "files").read_text().split("\n"):
    if not name:
        continue
    source, target = shared / name, stage / name
    target.parent.mkdir(parents=True, exist_ok=True)
    picture = None if source.suffix == ".mp4" else cv2.imread(str(source))
    if picture is not None:
        h, w = picture.shape[:2]
        factor = 4096 / w if "panoramas" in name else max(400 / h, 720 / w)
        if factor < 1:
            picture = cv2.resize(picture, (round(w * factor), round(h * factor)), interpolation=cv2.INTER_AREA)
        smaller = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 88])[1].tobytes()
    if picture is None or (factor >= 1 and len(smaller) > 0.8 * source.stat().st_size):
        shutil.copyfile(source, target)
    else:
        target.write_bytes(smaller)
P
  cp -rf "$3/eval" "$2/stage/" && chmod -R u+w "$2/stage" && rm -rf "$2/stage/eval"/*/object
  rm -f "$2"/part.*
  tar -C "$2/stage" -cf - train eval | xz -3 -T0 | split -b 15300000 -a 1 --numeric-suffixes=1 - "$2/part."
  rm -rf "$2/stage" "$2/code" && mkdir "$2/code"
  git ls-files -z -- e2fgvi_cli model examples/train examples/garage/masks | xargs -0 cp --parents -t "$2/code"
  ls -l "$2"
  ;;
keep)
  needs "$2/part.1"
  mkdir -p "$work/repo" "$work/parts"
  if [ -d "$2/code" ]; then
    cp -a "$2/code/." "$work/repo/" && mkdir -p "$work/repo/release_model" && cp release_model/*.safetensors "$work/repo/release_model/"
  else
    cp -a . "$work/repo/"
  fi
  cp "$2/part.1" "$work/parts/"
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
send)
  needs "$work/repo/release_model"
  cp "$2"/part.* "$work/parts/" && ls -l "$work/parts"
  ;;
train)
  needs "$work/repo/release_model"
  if [ ! -d "$work/shared" ]; then
    cp "$2"/part.[2-9] "$work/parts/" || needs "$work/parts/part.2"
    mkdir -p "$work/shared.new" && cat "$work"/parts/part.* | xz -dc -T0 | tar -C "$work/shared.new" -xf -
    mv "$work/shared.new" "$work/shared"
  fi
  cd "$work/repo"
  minutes=$3 until=$(awk "BEGIN { print int($4 * 60) }")
  gpus=${GPUS:-$(nvidia-smi -L | wc -l)}
  [ $# -gt 4 ] && runs=("${@:5}") || runs=("")
  each=$((gpus / ${#runs[@]}))
  [ "$each" -gt 0 ] || each=1
  for i in "${!runs[@]}"; do
    run=$work/run-$i chosen=$(seq -s, $((i * each)) $((i * each + each - 1)))
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
  # Whoever calls may be cut off before the next call, and the machine goes back: nothing may be only there. Of two runs at most: eight files come back.
  for run in $(ls -d "$work"/run-? | tail -n 2); do
    [ ! -e "$run/state.pt" ] || { "$python" -m e2fgvi_cli train export "$run" -o "$run/latest.safetensors" && split -b 15M -d "$run/latest.safetensors" "$out/$(basename "$run")-latest."; }
  done
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
    mkdir -p "$work/mean-start"
    if "$python" -m e2fgvi_cli train average "${all[@]}" release_model/e2fgvi-hq-open.safetensors -o "$work/mean-start/$file"; then
      measure mean-start "$work/mean-start/$file"
    fi
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
  sed -n 2,16p "$0"
  exit 2
  ;;
esac
