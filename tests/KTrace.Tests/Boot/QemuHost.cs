// A process that starts a QEMU the way ktrace does and can be killed with -9: the tests' own assembly, run as a program with this
// start-up hook (DOTNET_STARTUP_HOOKS), so that the tests need no second project.
using System.Diagnostics;
using System.Globalization;
using KTrace.Boot.Qemu;
using KTrace.Tests.Boot;

internal static class StartupHook
{
    public static void Initialize()
    {
        if (Environment.GetEnvironmentVariable("KTRACE_TEST_QEMU_HOST") is { } folder)
        {
            QemuHost.RunAsync(folder, Environment.GetEnvironmentVariable("KTRACE_TEST_QEMU_MOMENT")!).GetAwaiter().GetResult();
        }

        if (Environment.GetEnvironmentVariable("KTRACE_TEST_SCREEN_HOST") is { } cells)
        {
            Environment.Exit(KTrace.Tests.Tui.Terminal.ScreenHost.Run(cells));
        }
    }
}

namespace KTrace.Tests.Boot
{
    internal static class QemuHost
    {
        public static Process Start(string folder, string moment)
        {
            var assembly = typeof(QemuHost).Assembly.Location;
            var start = new ProcessStartInfo(Environment.ProcessPath is { } path && Path.GetFileName(path) == "dotnet" ? path
                : "dotnet", [assembly]) { RedirectStandardOutput = true, RedirectStandardError = true };
            start.Environment["DOTNET_STARTUP_HOOKS"] = assembly;
            start.Environment["KTRACE_TEST_QEMU_HOST"] = folder;
            start.Environment["KTRACE_TEST_QEMU_MOMENT"] = moment;
            return Process.Start(start)!;
        }

        public static async Task RunAsync(string folder, string moment)
        {
            var line = QemuProcessTests.Tiny();
            if (moment == "starting")
            {
                var program = Path.Combine(folder, "program");
                await File.WriteAllTextAsync(
                    program,
                    $"#!/bin/sh\nfor a in \"$@\"; do case $a in unix:*) d=${{a#unix:}}; echo \"${{d%/*}}\" > {folder}/directory;; esac; done\necho $$ > {folder}/qemu-pid\nexec sleep 1000\n");
                new FileInfo(program).UnixFileMode = UnixFileMode.UserRead | UnixFileMode.UserExecute | UnixFileMode.UserWrite;
                await QemuProcess.StartAsync(line with { Program = program });
            }

            var qemu = await QemuProcess.StartAsync(line);
            await qemu.ContinueAsync();
            await File.WriteAllTextAsync(Path.Combine(folder, "directory"), qemu.Directory + "\n");
            await File.WriteAllTextAsync(Path.Combine(folder, "qemu-pid"), QemuProcessTests.QemuOf(qemu.Directory).ToString(
                CultureInfo.InvariantCulture) + "\n");
            await Task.Delay(Timeout.Infinite);
        }
    }
}
