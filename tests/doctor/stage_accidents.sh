#!/usr/bin/env bash
# Stages real accidents in copies of a working virtual environment and shows what check-env says of each.
# Usage: stage_accidents.sh VENV WORKDIR [NAME...]     needs Linux, gcc, pip; libgl and disk need root (mount).
# Files are shared with VENV by hard links, so each accident replaces files, it never writes into them.
set -uo pipefail
venv=$(realpath "$1"); work=$2; shift 2
repo=$(cd "$(dirname "$0")/../.." && pwd); mkdir -p "$work"; work=$(realpath "$work")
py=$("$venv/bin/python" -c 'import sys;print("python%d.%d"%sys.version_info[:2])')
suffix=$("$venv/bin/python" -c "import sysconfig;print(sysconfig.get_config_var('EXT_SUFFIX'))")
include=$("$venv/bin/python" -c "import sysconfig;print(sysconfig.get_paths()['include'])")
names=${*:-mismatch truncated libgl two_opencv mmcv_symbol mmcv_cudart mmcv_segfault mmcv_python numpy lfs shadow disk}

fresh() { # a copy of the environment; sets $site and $python
  local copy=$work/$1; rm -rf "$copy"; mkdir -p "$copy/lib/$py" "$copy/bin"
  cp -al "$venv/lib/$py/site-packages" "$copy/lib/$py/"; cp -a "$venv"/bin/python* "$copy/bin/"; cp "$venv/pyvenv.cfg" "$copy/"
  site=$copy/lib/$py/site-packages; python=$copy/bin/python
}
doctor() { (cd "${1:-$work}"; PYTHONPATH=$repo "$python" -m e2fgvi_cli.doctor "${@:2}"; echo "exit code $?"); }
pip() { "$venv/bin/python" -m pip --disable-pip-version-check -q --python "$python" "$@"; }
mmcv() { # a fake mmcv beside the source of its _ext, compiled with the given options
  mkdir -p "$site/mmcv" "$site/mmcv-2.2.0.dist-info"; echo "__version__ = '2.2.0'" > "$site/mmcv/__init__.py"
  printf 'Name: mmcv\nVersion: 2.2.0\n' > "$site/mmcv-2.2.0.dist-info/METADATA"
  cat > "$work/ext.cpp" <<'C'
#include <Python.h>
#ifdef SYMBOL
namespace at { struct Tensor { bool is_cuda() const; }; } static at::Tensor t; bool used = t.is_cuda();
#endif
#ifdef BOOM
__attribute__((constructor)) static void boom() { *(volatile int *)0 = 1; }
#endif
static struct PyModuleDef m = {PyModuleDef_HEAD_INIT, "_ext", 0, -1, 0};
PyMODINIT_FUNC PyInit__ext(void) { return PyModule_Create(&m); }
C
  g++ -shared -fPIC -w "-I$include" "$work/ext.cpp" -Wl,--no-as-needed "$@"
}

for name in $names; do
  echo "=== $name"; fresh "$name"; lib=$site/torch/lib
  case $name in
    mismatch) rm -rf "$site"/torchvision*; pip install --no-deps torchvision==0.20.1; doctor "$work" --only packages --only extensions;;
    truncated) f=$(ls "$site"/torchvision/_C*.so); head -c 100000 "$f" > "$f.cut"; mv "$f.cut" "$f"; doctor "$work" --only packages --only extensions;;
    libgl) rm -rf "$work/nogl"; cp -al /usr/lib/x86_64-linux-gnu "$work/nogl"; rm -f "$work"/nogl/libGL.so*
           unshare -m bash -c "mount --bind '$work/nogl' /usr/lib/x86_64-linux-gnu; cd '$work'; PYTHONPATH='$repo' '$python' -m e2fgvi_cli.doctor --only ext.static:cv2 --only ext.load:cv2; echo exit code \$?";;
    two_opencv) cp -r "$site/cv2" "$site/cv2.new"; rm -rf "$site/cv2"; mv "$site/cv2.new" "$site/cv2"; pip install --no-deps opencv-python-headless==4.10.0.84; doctor "$work" --only packages --only extensions;;
    mmcv_symbol) mmcv -DSYMBOL -L"$lib" -lc10 -ltorch_cpu -o "$site/mmcv/_ext$suffix"; doctor "$work" --only extensions;;
    mmcv_cudart) echo 'int x;' | gcc -shared -fPIC -x c - -Wl,-soname,libcudart.so.11.0 -o "$work/stub.so"; mmcv "$work/stub.so" -o "$site/mmcv/_ext$suffix"; doctor "$work" --only extensions;;
    mmcv_segfault) mmcv -DBOOM -o "$site/mmcv/_ext$suffix"; doctor "$work" --only extensions;;
    mmcv_python) mmcv -o "$site/mmcv/_ext.cpython-38-x86_64-linux-gnu.so"; doctor "$work" --only extensions;;
    numpy) rm -rf "$site"/numpy "$site"/numpy-* "$site"/numpy.libs; pip install --no-deps numpy==1.26.4; doctor "$work" --only packages --only extensions;;
    lfs) mkdir -p "$work/w"; printf 'version https://git-lfs.github.com/spec/v1\noid sha256:%064d\nsize 41591628\n' 0 > "$work/w/e2fgvi-hq-open.safetensors"
         (cd "$work"; E2FGVI_WEIGHTS_DIR=$work/w PYTHONPATH=$repo "$python" -m e2fgvi_cli.doctor --only weights; echo "exit code $?");;
    shadow) mkdir -p "$work/shadowed"; echo 'print("mine")' > "$work/shadowed/torch.py"; doctor "$work/shadowed" --only system --only ext.load:numpy;;
    disk) mkdir -p "$work/full"; mount -t tmpfs -o size=256k tmpfs "$work/full"; cat /dev/zero > "$work/full/fill" 2> /dev/null
          (cd "$work/full"; TMPDIR=$work/full PYTHONPATH=$repo "$python" -m e2fgvi_cli.doctor --only system --only exercise; echo "exit code $?"); umount "$work/full";;
  esac
done
