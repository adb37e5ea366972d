@echo off
rem Install aios on Windows: find or install a Python, then run scripts\install.py. Running it again is safe.
rem
rem     Double-click it, or: scripts\install.cmd [FOLDER] [--yes] [--uninstall]
rem
rem FOLDER: absolute path of the environment; --yes: do not ask for confirmation; --uninstall: delete what aios has installed.
rem Paths may contain any letter, so they stay in quotes and are never passed to call, which expands them twice.
setlocal EnableExtensions DisableDelayedExpansion
set "STATUS=1"
set "FOUND="
set "YES="
set "PYTHONHOME="
set "PYTHONPATH="
rem On a network share pushd gives the folder a drive letter.
pushd "%~dp0.."
if errorlevel 1 (
    echo Cannot open this folder. Copy all of aios to a local drive and run this script there.
    goto :end
)
if not exist scripts\install.py (
    echo scripts\install.py is missing. Unpack all of aios, not only this file, and run this script there.
    goto :left
)

call :find
if not defined FOUND call :get %*
if not defined FOUND (
    echo Install Python 3.12, 64-bit, from this page, then run this again:
    echo     https://www.python.org/downloads/windows/
    goto :left
)
%FOUND% scripts\install.py %*
set "STATUS=%ERRORLEVEL%"

:left
popd
:end
rem After a double click the command line ends like this, and Explorer would close the window at once.
setlocal EnableDelayedExpansion
if [!CMDCMDLINE:~-3!]==[" "] pause
exit /b %STATUS%


rem FOUND: the command of the first suitable Python. The reason against each of the others is printed.
:find
set "LAUNCHER="
for %%P in (py.exe) do set "LAUNCHER=%%~$PATH:P"
if defined LAUNCHER for %%V in (12 13 11 10 14) do (
    set CANDIDATE="%LAUNCHER%" -3.%%V
    call :try
)
for %%V in (12 13 11 10 14) do (
    set "FOLDER=%LOCALAPPDATA%\Programs\Python\Python3%%V"
    call :look
    set "FOLDER=%ProgramFiles%\Python3%%V"
    call :look
)
set "PLACES=%PATH:"=%"
for %%D in ("%PLACES:;=" "%") do (
    set "FOLDER=%%~D"
    call :look
)
exit /b

:look
if not exist "%FOLDER%\python.exe" exit /b
set CANDIDATE="%FOLDER%\python.exe"
:try
if defined FOUND exit /b
%CANDIDATE% scripts\suitable_python.py 2>nul
if "%ERRORLEVEL%"=="0" set FOUND=%CANDIDATE%
exit /b


:get
if "%~1"=="--yes" set "YES=1"
shift
if not "%~1"=="" goto :get
echo No suitable Python was found. aios needs 64-bit Python 3.10 to 3.14, not from the Microsoft Store or conda.
set "PROGRAM="
for %%P in (winget.exe) do set "PROGRAM=%%~$PATH:P"
if defined PROGRAM goto :winget
for %%P in (uv.exe) do set "PROGRAM=%%~$PATH:P"
if defined PROGRAM goto :uv
exit /b

:winget
echo The Windows package manager can install one:
echo     winget install --id Python.Python.3.12 --exact --source winget
call :ask
if not defined AGREED exit /b
set "TERMS="
if defined YES set "TERMS=--accept-package-agreements --accept-source-agreements"
"%PROGRAM%" install --id Python.Python.3.12 --exact --source winget %TERMS%
goto :find

:uv
echo uv can install one for your user:
echo     uv python install 3.12
call :ask
if not defined AGREED exit /b
"%PROGRAM%" python install 3.12
for /f "delims=" %%P in ('uv.exe python find --system 3.12') do (
    set CANDIDATE="%%P"
    call :try
)
exit /b

:ask
set "AGREED=%YES%"
set "ANSWER="
if not defined YES set /p "ANSWER=Do it now? [y/N] "
if /i "%ANSWER%"=="y" set "AGREED=1"
if /i "%ANSWER%"=="yes" set "AGREED=1"
exit /b
