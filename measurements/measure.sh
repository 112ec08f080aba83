#!/bin/bash
# What the tables of docs/performance come from: measure.sh memory|files|gpus|rest OUT [EVAL]
#   memory  frames in memory, needs no PyAV: kernels, speed, planner (on a second GPU beside it, if there is one: planner and long clips)
#   files   end to end, needs PyAV: speed, the host, lookups of image propagation; a profile of all threads where py-spy is installed
#   gpus    two GPUs against one: their test, 800 frames, 2,000 frames; a profile of who has the interpreter where py-spy is installed, a timeline. Needs PyAV
#   rest    margins of crops on the clips of EVAL (NAME/frames, NAME/still, NAME/drifting), compiling, large frames, check-env
# OUT: folder for the figures. Each part takes about ten minutes on an H100, what is least needed last; a benchmark needs up to 40 s to start on a fresh machine. SMALL=1 runs the same commands on a CPU in little time: a
# rehearsal, no measurement.
set -u
part=$1 out=$2 eval=${3:-}
python=${PYTHON:-python3}
export PYTHONUNBUFFERED=1
mkdir -p "$out"

if [ "${SMALL:-}" ]; then
  device=cpu half=fp32 clip="--sizes 96x64 --frames 12" hd="--sizes 128x96 --frames 12" many="--sizes 128x96 --frames 12" uhd="--sizes 192x128 --frames 12"
  long="12 24" hosts="96x64" sizes=64x96 few="--frames 8 --margins 0,64" gpus=0 lookups=16 profiled="(64, 96), 24" large="(96, 128)"
else
  device=cuda half=fp16 clip="--sizes 432x240 --frames 280" hd="--sizes 1920x1080 --frames 60" many="--sizes 1920x1080 --frames 100" uhd="--sizes 3840x2160 --frames 16"
  long="1000 10000" hosts="432x240,1920x1080" sizes=240x432,240x324,540x960,1080x1920 few= gpus=$(nvidia-smi -L | wc -l) lookups=100 profiled="(240, 432), 1000" large="(1080, 1920)"
fi

# step NAME SECONDS COMMAND...: a step that fails or takes too long stops no other
step() {
  local name=$1 seconds=$2
  shift 2
  timeout "$seconds" "$@" >"$out/$name.txt" 2>&1 || echo "exit code $?" >>"$out/$name.txt"
  echo "== $name, over at $SECONDS s: $*"
  tail -n 30 "$out/$name.txt"
}
benchmark() {
  local name=$1 seconds=$2
  shift 2
  step "$name" "$seconds" "$python" -m e2fgvi_cli benchmark --device $device --no-image-propagation --json "$out/$name.json" "$@"
}
speed() {
  [ $device = cpu ] || step kernels 100 "$python" -m pytest -q -p no:cacheprovider -n 0 -m gpu tests/engine tests/model
  benchmark 240-full-frame 180 $clip --full-frame --mode engine --repeats 3 --against released --check
  benchmark 1080-memory 60 $hd --hole 0.1 --mode engine --no-stages --repeats 1 --no-check
  benchmark 1080-full-frame 60 $many --full-frame --mode engine --no-stages --repeats 1 --no-check
}
planner() {
  step memory 80 "$python" -m measurements.memory --device $device --precision $half --sizes $sizes -o "$out/memory.json"
  for frames in $long; do
    # A clip of its own process each: peak memory is a process's. The length comes last, so it counts.
    benchmark "long-$frames" 300 $clip --mode engine --no-stages --repeats 1 --no-check --frames "$frames"
  done
}

case $part in
memory)
  if [ "$gpus" -gt 1 ]; then
    (export CUDA_VISIBLE_DEVICES=1; planner) &
    CUDA_VISIBLE_DEVICES=0 speed
    wait
  else
    speed
    planner
  fi
  ;;
files)
  benchmark 240-process 200 $clip --mode process --image-propagation --repeats 2
  benchmark 240-end-to-end 60 $clip --full-frame --mode end-to-end --no-stages --repeats 2 --no-check
  benchmark 240-end-to-end-propagated 120 $clip --full-frame --mode end-to-end --no-stages --repeats 1 --no-check --image-propagation
  benchmark 1080-hole10 60 $hd --hole 0.1 --mode end-to-end --no-stages --repeats 1 --no-check
  benchmark 1080-hole10-propagated 120 $hd --hole 0.1 --mode end-to-end --no-stages --repeats 1 --no-check --image-propagation
  step host 40 "$python" -m measurements.host --frames 60 --repeats 1 --sizes $hosts
  step host-propagated 60 "$python" -m measurements.host --frames 60 --repeats 1 --sizes $hosts --image-propagation
  step lookup 60 "$python" -m measurements.lookup --device $device --sizes $hosts --frames $lookups
  step host-looked-up 60 "$python" -m measurements.host --frames 60 --repeats 1 --sizes $hosts --image-propagation --looked-up
  if command -v py-spy >/dev/null; then
    # Which line of which thread has the interpreter, and where each thread stands: collapsed stacks, one line each.
    "$python" -c "from pathlib import Path; from e2fgvi_cli.bench.synthetic import *; write_clip(SyntheticClip($profiled), Path('$out'))"
    run="$python -m e2fgvi_cli inpaint -q --device $device -v $out/clip.mp4 -m $out/masks.mkv --full-frame --mask-dilation 0px --no-image-propagation --overwrite -o $out/filled.mp4"
    step profile-interpreter 60 py-spy record -r 200 --gil -t -f raw -o "$out/profile-interpreter.raw" -- $run
    step profile-threads 60 py-spy record -r 200 -t -f raw -o "$out/profile-threads.raw" -- $run
    step profile-propagated 60 py-spy record -r 200 -t -f raw -o "$out/profile-propagated.raw" -- ${run/--no-image-propagation/--image-propagation}
    rm -f "$out"/*.mp4 "$out"/*.mkv
  fi
  ;;
gpus)
  [ $device = cpu ] && both=cpu,cpu one=cpu frames=24 || both=cuda:0,cuda:1 one=cuda:0 frames=2000
  [ $device = cpu ] || step several-gpus 100 "$python" -m pytest -q -p no:cacheprovider -n 0 -m gpu tests/engine/test_several_gpus.py
  "$python" -c "from pathlib import Path; from e2fgvi_cli.bench.synthetic import *; write_clip(SyntheticClip($large, $frames), Path('$out'))"
  run="$python -m e2fgvi_cli inpaint --json -q -v $out/clip.mp4 -m $out/masks.mkv --full-frame --precision $half --mask-dilation 0px --no-image-propagation --overwrite -o $out/filled.mp4"
  step long-two 130 $run --devices $both
  step long-one 170 $run --device $one
  [ $device = cpu ] || step 1080-two-gpus 300 "$python" -m e2fgvi_cli benchmark --json "$out/1080-two-gpus.json" --devices $both --sizes 1920x1080 \
    --no-image-propagation --frames 800 --full-frame --precision $half --mode end-to-end --no-stages --repeats 1 --no-check
  ! command -v py-spy >/dev/null || step profile-two 130 py-spy record -r 150 --gil -t -f raw -o "$out/profile-two.raw" -- $run --devices $both
  [ $device = cpu ] && busy= || busy=--busy
  step timeline-two 130 "$python" -m measurements.timeline "$out/timeline-two.txt" $busy ${run#*e2fgvi_cli } --devices $both
  rm -f "$out"/*.mp4 "$out"/*.mkv
  ;;
rest)
  [ -z "$eval" ] || step margins 170 "$python" -m measurements.margins "$eval" --device $device -o "$out/margins.json" $few
  benchmark 240-compile 90 $clip --full-frame --mode engine --no-stages --repeats 1 --no-check --compile
  benchmark 2160-full-frame 60 $uhd --full-frame --max-memory 12GiB --mode engine --no-stages --repeats 1 --no-check
  step check-env 80 "$python" -m e2fgvi_cli check-env --deep --timeout 60
  ;;
*)
  echo "measure.sh memory|files|gpus|rest OUT [EVAL]" >&2
  exit 2
  ;;
esac
echo "all after $SECONDS s"
