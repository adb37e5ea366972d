/* winrun.exe: starts a Windows program under Wine and tells the truth about it.
 *
 *     winrun [-n] [-t SECONDS] -c CODEFILE PROGRAM ARGUMENTS...
 *
 *     -c  write the full 32-bit exit code there (Linux sees only 8 bits of it)
 *     -t  end the whole process tree after SECONDS: exit code 1460 (ERROR_TIMEOUT)
 *     -n  as an ordinary user: a token without the Administrators group, and every key of HKLM given the security
 *         descriptor that Windows has there (Users read, Administrators all), since Wine checks only keys that carry one
 *
 * Everything after the options is passed on byte for byte. Variables that betray Linux are removed.
 */
#define _WIN32_WINNT 0x0A00
#include <windows.h>
#include <sddl.h>
#include <stdio.h>
#include <wchar.h>

static const wchar_t *const LINUX_VARIABLES[] = {L"USER", L"LOGNAME", L"LC_ALL", L"LOCPATH", L"WINEPREFIX", L"WINEPATH"};

static void die(const char *what)
{
    fprintf(stderr, "winrun: %s failed, error %lu\n", what, GetLastError());
    ExitProcess(250);
}

/* The command line after its first argument, untouched: quoting it again could change it. */
static wchar_t *after_argument(wchar_t *p)
{
    for (int quoted = 0; *p && (quoted || (*p != L' ' && *p != L'\t')); p++)
        if (*p == L'"') quoted = !quoted;
    while (*p == L' ' || *p == L'\t') p++;
    return p;
}

static HANDLE token_without_administrators(void)
{
    HANDLE own, restricted;
    SID_IDENTIFIER_AUTHORITY authority = {SECURITY_NT_AUTHORITY};
    SID_AND_ATTRIBUTES administrators = {0};
    if (!OpenProcessToken(GetCurrentProcess(), TOKEN_ALL_ACCESS, &own)) die("OpenProcessToken");
    if (!AllocateAndInitializeSid(&authority, 2, SECURITY_BUILTIN_DOMAIN_RID, DOMAIN_ALIAS_RID_ADMINS, 0, 0, 0, 0, 0, 0,
                                  &administrators.Sid)) die("AllocateAndInitializeSid");
    if (!CreateRestrictedToken(own, DISABLE_MAX_PRIVILEGE, 1, &administrators, 0, 0, 0, 0, &restricted))
        die("CreateRestrictedToken");
    return restricted;
}

static void protect(HKEY key, PSECURITY_DESCRIPTOR descriptor)
{
    wchar_t name[256];
    DWORD length = 256;
    HKEY child;
    RegSetKeySecurity(key, OWNER_SECURITY_INFORMATION | GROUP_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION, descriptor);
    for (DWORD i = 0; !RegEnumKeyExW(key, i, name, &length, 0, 0, 0, 0); i++, length = 256) {
        if (RegOpenKeyExW(key, name, REG_OPTION_OPEN_LINK, KEY_ALL_ACCESS, &child)) continue;
        protect(child, descriptor);
        RegCloseKey(child);
    }
}

static void protect_local_machine(void)
{
    PSECURITY_DESCRIPTOR descriptor;
    HKEY key;
    if (!ConvertStringSecurityDescriptorToSecurityDescriptorW(L"O:BAG:BAD:(A;CI;KR;;;BU)(A;CI;KA;;;BA)(A;CI;KA;;;SY)", 1,
                                                              &descriptor, 0)) die("security descriptor");
    if (RegOpenKeyExW(HKEY_LOCAL_MACHINE, 0, 0, KEY_ALL_ACCESS, &key)) die("opening HKLM");
    protect(key, descriptor);
    RegCloseKey(key);
}

/* A job that takes its processes along when it is closed. */
static HANDLE job(void)
{
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION limits = {0};
    HANDLE handle = CreateJobObjectW(0, 0);
    limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE;
    SetInformationJobObject(handle, JobObjectExtendedLimitInformation, &limits, sizeof limits);
    return handle;
}

static DWORD run(wchar_t *command, int ordinary_user, DWORD milliseconds)
{
    STARTUPINFOW startup = {.cb = sizeof startup, .dwFlags = STARTF_USESTDHANDLES};
    PROCESS_INFORMATION process;
    DWORD code;
    HANDLE tree = job();
    HANDLE *const standard[] = {&startup.hStdInput, &startup.hStdOutput, &startup.hStdError};
    const DWORD names[] = {STD_INPUT_HANDLE, STD_OUTPUT_HANDLE, STD_ERROR_HANDLE};
    for (int i = 0; i < 3; i++) {
        *standard[i] = GetStdHandle(names[i]);
        SetHandleInformation(*standard[i], HANDLE_FLAG_INHERIT, HANDLE_FLAG_INHERIT);
    }
    BOOL started = ordinary_user
        ? CreateProcessAsUserW(token_without_administrators(), 0, command, 0, 0, TRUE, CREATE_SUSPENDED, 0, 0, &startup, &process)
        : CreateProcessW(0, command, 0, 0, TRUE, CREATE_SUSPENDED, 0, 0, &startup, &process);
    if (!started) die("starting the program");
    AssignProcessToJobObject(tree, process.hProcess);
    ResumeThread(process.hThread);
    if (WaitForSingleObject(process.hProcess, milliseconds) == WAIT_TIMEOUT) {
        TerminateJobObject(tree, ERROR_TIMEOUT);
        return ERROR_TIMEOUT;
    }
    GetExitCodeProcess(process.hProcess, &code);
    return code;
}

int wmain(int argc, wchar_t **argv)
{
    wchar_t *command = after_argument(GetCommandLineW());
    wchar_t *code_file = 0;
    int ordinary_user = 0, i = 1;
    DWORD milliseconds = INFINITE;
    for (; i < argc && argv[i][0] == L'-'; i++, command = after_argument(command)) {
        if (argv[i][1] == L'n') {
            ordinary_user = 1;
            continue;
        }
        command = after_argument(command);
        if (argv[i][1] == L'c') code_file = argv[i + 1];
        if (argv[i][1] == L't') milliseconds = (DWORD)(_wtof(argv[i + 1]) * 1000);
        i++;
    }
    for (size_t k = 0; k < sizeof LINUX_VARIABLES / sizeof *LINUX_VARIABLES; k++)
        SetEnvironmentVariableW(LINUX_VARIABLES[k], 0);
    if (ordinary_user) protect_local_machine();
    DWORD code = run(command, ordinary_user, milliseconds);
    FILE *file = _wfopen(code_file, L"w");
    if (!file) die("writing the exit code");
    fprintf(file, "%lu\n", code);
    fclose(file);
    ExitProcess(code);
}
