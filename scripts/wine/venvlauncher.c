/* What `venv` copies into an environment as its python.exe. CPython's installer brings such a program; the embeddable CPython in
 * the box lacks it. As CPython's own, it starts the Python of pyvenv.cfg's `home` and tells it by __PYVENV_LAUNCHER__ which
 * program it was called by; that process ends with this one. */
#define _WIN32_WINNT 0x0A00
#include <windows.h>
#include <stdio.h>
#include <wchar.h>

#define LENGTH 32768

static void die(const char *what)
{
    fprintf(stderr, "venvlauncher: %s, error %lu\n", what, GetLastError());
    ExitProcess(106);
}

/* The value of `home` in the pyvenv.cfg beside or above the folder Scripts. */
static void read_home(const wchar_t *self, wchar_t *home)
{
    static wchar_t path[LENGTH];
    static char line[4 * LENGTH];
    wcscpy(path, self);
    for (int up = 0; up < 2; up++) {
        *wcsrchr(path, L'\\') = 0;
        wcscat(path, L"\\pyvenv.cfg");
        FILE *file = _wfopen(path, L"rb");
        while (file && fgets(line, sizeof line, file)) {
            char *value = strchr(line, '=');
            if (!value || strncmp(line, "home", 4)) continue;
            value += 1 + strspn(value + 1, " \t");
            value[strcspn(value, "\r\n")] = 0;
            MultiByteToWideChar(CP_UTF8, 0, value, -1, home, LENGTH);
            fclose(file);
            return;
        }
        if (file) fclose(file);
        *wcsrchr(path, L'\\') = 0;
    }
    die("there is no pyvenv.cfg with a home");
}

static BOOL WINAPI leave_it_to_python(DWORD event)
{
    return TRUE;
}

int wmain(void)
{
    static wchar_t self[LENGTH], home[LENGTH], line[2 * LENGTH];
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION limit = {.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE};
    STARTUPINFOW startup = {.cb = sizeof startup};
    PROCESS_INFORMATION child;
    DWORD status;

    GetModuleFileNameW(0, self, LENGTH);
    read_home(self, home);
    SetEnvironmentVariableW(L"__PYVENV_LAUNCHER__", self);
    const wchar_t *arguments = GetCommandLineW();
    wchar_t end = *arguments == L'"' ? *arguments++ : L' ';
    while (*arguments && *arguments != end) arguments++;
    if (*arguments == L'"') arguments++;
    _snwprintf(line, 2 * LENGTH, L"\"%ls%ls\"%ls%ls", home, wcsrchr(self, L'\\'), *arguments == L' ' ? L"" : L" ", arguments);

    HANDLE job = CreateJobObjectW(0, 0);
    SetInformationJobObject(job, JobObjectExtendedLimitInformation, &limit, sizeof limit);
    SetConsoleCtrlHandler(leave_it_to_python, TRUE);
    GetStartupInfoW(&startup);
    if (!CreateProcessW(0, line, 0, 0, TRUE, CREATE_SUSPENDED, 0, 0, &startup, &child)) die("the Python of its home does not start");
    AssignProcessToJobObject(job, child.hProcess);
    ResumeThread(child.hThread);
    WaitForSingleObject(child.hProcess, INFINITE);
    GetExitCodeProcess(child.hProcess, &status);
    return status;
}
