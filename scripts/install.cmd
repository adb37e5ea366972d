@echo off
rem aios for Windows: finds a Python or gets one, then scripts\install.py does the rest. Running it again is harmless.
rem
rem     Double-click it, or: scripts\install.cmd [FOLDER] [--yes]
rem
rem FOLDER: where the environment is made, in full; --yes: ask nothing.
rem All paths are below the current folder, which pushd sets even on a network share: no letter in them can do harm.
setlocal EnableExtensions DisableDelayedExpansion
set "STATUS=1"
set "FOUND="
set "YES="
set "PYTHONHOME="
set "PYTHONPATH="
pushd "%~dp0.."
if errorlevel 1 (
    echo This folder cannot be opened. Copy the whole of aios to a drive of this computer, such as C:, and run this again.
    goto :end
)
if not exist scripts\install.py (
    echo scripts\install.py is missing: unpack the whole of aios, not this file alone, and run this again.
    goto :left
)

call :find
if not defined FOUND call :get %*
if not defined FOUND (
    echo.
    echo Install Python 3.12, 64-bit, from this page, then run this again:
    echo     https://www.python.org/downloads/windows/
    goto :left
)
%FOUND% scripts\install.py %*
set "STATUS=%ERRORLEVEL%"

:left
popd
:end
rem Explorer starts what is double-clicked so that the command line ends in this; its window would close on the last words.
setlocal EnableDelayedExpansion
if [!CMDCMDLINE:~-3!]==[" "] pause
exit /b %STATUS%

:find
for %%V in (12 13 11 10 14) do set CANDIDATE=py -3.%%V& call :try
for %%V in (12 13 11 10 14) do set CANDIDATE="%LOCALAPPDATA%\Programs\Python\Python3%%V\python.exe"& call :try
for %%V in (12 13 11 10 14) do set CANDIDATE="%ProgramFiles%\Python3%%V\python.exe"& call :try
for /f "delims=" %%P in ('where $PATH:python.exe 2^>nul') do set CANDIDATE="%%P"& call :try
exit /b

:try
if not defined FOUND %CANDIDATE% scripts\suitable_python.py 2>nul && set FOUND=%CANDIDATE%
exit /b

:get
if "%~1"=="--yes" set "YES=1"
shift
if not "%~1"=="" goto :get
echo No Python that aios could live on was found: 64-bit, 3.10 to 3.14, not from the Microsoft Store, not conda's.
winget --version >nul 2>nul && goto :winget
uv --version >nul 2>nul && goto :uv
exit /b

:winget
echo Windows' own package manager can install one for you:
echo     winget install --id Python.Python.3.12 --exact --source winget
call :ask
if not defined AGREED exit /b
set "TERMS="
if defined YES set "TERMS=--accept-package-agreements --accept-source-agreements"
winget install --id Python.Python.3.12 --exact --source winget %TERMS%
call :find
exit /b

:uv
echo uv, which is installed, can bring one for your user:
echo     uv python install 3.12
call :ask
if not defined AGREED exit /b
uv python install 3.12
for /f "delims=" %%P in ('uv python find --system 3.12 2^>nul') do set CANDIDATE="%%P"& call :try
exit /b

:ask
set "AGREED=%YES%"
set "ANSWER="
if not defined YES set /p "ANSWER=Do it now? [y/N] "
if /i "%ANSWER%"=="y" set "AGREED=1"
if /i "%ANSWER%"=="yes" set "AGREED=1"
exit /b
