@echo off
rem aios for Windows: finds a Python or gets one, then scripts\install.py does the rest. Running it again is harmless.
rem
rem     Double-click it, or: scripts\install.cmd [FOLDER] [--yes]
rem
rem FOLDER: where the environment is made, in full; --yes: ask nothing.
rem Paths stay in quotes, and are never handed to call, which reads them twice: they may hold any letter.
setlocal EnableExtensions DisableDelayedExpansion
set "STATUS=1"
set "FOUND="
set "YES="
set "PYTHONHOME="
set "PYTHONPATH="
rem On a network share pushd gives the folder a drive letter.
pushd "%~dp0.."
if errorlevel 1 (
    echo This folder cannot be opened. Copy the whole of aios to a drive of this computer, and run this again there.
    goto :end
)
if not exist scripts\install.py (
    echo scripts\install.py is missing. Unpack the whole of aios, not this file alone, and run this again there.
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
rem Explorer ends the command line of what is double-clicked with this, and closes the window on the last words.
setlocal EnableDelayedExpansion
if [!CMDCMDLINE:~-3!]==[" "] pause
exit /b %STATUS%


rem FOUND: the command of the first Python that aios can live on. The others are named, each with its reason.
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
echo No Python that aios could live on was found: 64-bit, 3.10 to 3.14, not the Microsoft Store's, not conda's.
set "PROGRAM="
for %%P in (winget.exe) do set "PROGRAM=%%~$PATH:P"
if defined PROGRAM goto :winget
for %%P in (uv.exe) do set "PROGRAM=%%~$PATH:P"
if defined PROGRAM goto :uv
exit /b

:winget
echo Windows' own package manager can install one for you:
echo     winget install --id Python.Python.3.12 --exact --source winget
call :ask
if not defined AGREED exit /b
set "TERMS="
if defined YES set "TERMS=--accept-package-agreements --accept-source-agreements"
"%PROGRAM%" install --id Python.Python.3.12 --exact --source winget %TERMS%
goto :find

:uv
echo uv, which is installed, can bring one for your user:
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
