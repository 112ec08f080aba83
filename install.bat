@echo off
rem Makes .venv beside this file and installs e2fgvi in it. Double-click, or run in a terminal.
rem Not run where it was written: docs\install.md says what was.
setlocal
cd /d "%~dp0"
py -3 -c "import sys; sys.exit(sys.version_info < (3, 11))" 2>nul
if errorlevel 1 (
  echo Python 3.11 or newer is needed. Install it, with the launcher "py", and run this again.
  goto failed
)
if not exist .venv\Scripts\python.exe py -3 -m venv .venv || goto failed
.venv\Scripts\python -m pip install --upgrade pip uv || goto failed
rem uv takes the torch that fits the NVIDIA driver, or the one for CPUs.
.venv\Scripts\uv pip install --python .venv\Scripts\python.exe --torch-backend=auto ".[ui]" || goto failed
.venv\Scripts\e2fgvi check-env
echo.
echo Done. In a terminal: .venv\Scripts\activate, then e2fgvi inpaint --help, or e2fgvi ui
pause
exit /b 0
:failed
echo.
echo Nothing else was changed. What went wrong is above.
pause
exit /b 1
