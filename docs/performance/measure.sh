#!/bin/bash
# What the tables of README.md beside this file come from, in the order of what matters most: measure.sh first|second OUT [EVAL]
# OUT: folder for the figures. EVAL: folder of clips with masks (NAME/frames, NAME/still, NAME/drifting), for the crops' margins.
# Each part takes less than ten minutes on an H100. SMALL=1 runs the same commands on a CPU in little time: a rehearsal, no measurement.
set -u
part=$1 out=$2 eval=${3:-}
python=${PYTHON:-python3}
export PYTHONUNBUFFERED=1
mkdir -p "$out"

if [ "${SMALL:-}" ]; then
  device=cpu half=fp32 clip="--sizes 96x64 --frames 12" hd="--sizes 128x96 --frames 12" many="--sizes 128x96 --frames 12" uhd="--sizes 192x128 --frames 12"
  long="12 24" hosts="96x64" sizes=64x96 few="--frames 8 --margins 0,64"
else
  device=cuda half=fp16 clip="--sizes 432x240 --frames 280" hd="--sizes 1920x1080 --frames 60" many="--sizes 1920x1080 --frames 100" uhd="--sizes 3840x2160 --frames 16"
  long="1000 10000" hosts="432x240,1920x1080" sizes=240x432,540x960,1080x1920 few=
fi

# step NAME SECONDS COMMAND...: a step that fails or takes too long stops no other
step() {
  local name=$1 seconds=$2
  shift 2
  echo "== $name, at $SECONDS s: $*"
  timeout "$seconds" "$@" >"$out/$name.txt" 2>&1 || echo "exit code $?"
  tail -n 40 "$out/$name.txt"
}
benchmark() {
  local name=$1 seconds=$2
  shift 2
  step "$name" "$seconds" "$python" -m e2fgvi_cli benchmark --device $device --json "$out/$name.json" "$@"
}

case $part in
first)
  [ $device = cpu ] || step kernels 90 "$python" -m pytest -q -p no:cacheprovider -n 0 -m gpu tests/engine
  benchmark 240-full-frame 120 $clip --full-frame --mode engine --repeats 3 --against released --check
  benchmark 240-end-to-end 60 $clip --full-frame --mode end-to-end --no-stages --repeats 2 --no-check
  benchmark 1080-hole10 90 $hd --hole 0.1 --mode both --no-stages --repeats 1 --no-check
  benchmark 1080-full-frame 60 $many --full-frame --mode engine --no-stages --repeats 1 --no-check
  benchmark 2160-full-frame 60 $uhd --full-frame --max-memory 12GiB --mode engine --no-stages --repeats 1 --no-check
  step host 40 "$python" -m e2fgvi_cli.bench.host --frames 60 --sizes $hosts
  step memory 60 "$python" -m e2fgvi_cli.bench.memory --device $device --precision $half --sizes $sizes -o "$out/memory.json"
  ;;
second)
  for frames in $long; do
    # A clip of its own process each: peak memory is a process's. The length comes last, so it counts.
    benchmark "long-$frames" 140 $clip --mode engine --no-stages --repeats 1 --no-check --frames "$frames"
  done
  [ -z "$eval" ] || step margins 170 "$python" -m e2fgvi_cli.bench.margins "$eval" --device $device -o "$out/margins.json" $few
  benchmark 240-compile 90 $clip --full-frame --mode engine --no-stages --repeats 1 --no-check --compile
  step check-env 80 "$python" -m e2fgvi_cli check-env --deep --timeout 60
  ;;
*)
  echo "measure.sh first|second OUT [EVAL]" >&2
  exit 2
  ;;
esac
echo "all after $SECONDS s"
