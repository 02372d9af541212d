using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using KTrace.Boot;
using KTrace.Boot.Qemu;
using KTrace.Boot.Scenarios;

namespace KTrace.Tests.Boot;

/// <summary>Real QEMU processes with a machine that has nothing to boot.</summary>
public sealed class QemuProcessTests
{
    internal static QemuCommandLine Tiny(params string[] extra) =>
        QemuCommandLine.For(new Scenario { Name = "tiny", Memory = 32 }, null, null, ["-boot", "n", .. extra]);

    [Fact]
    public async Task It_starts_stopped_with_a_stub_that_can_be_connected_to_and_ends_without_a_trace()
    {
        string directory;
        int pid;
        await using (var qemu = await QemuProcess.StartAsync(Tiny()))
        {
            directory = qemu.Directory;
            pid = QemuOf(directory);
            Assert.Matches(@"^\d+\.\d+\.\d+$", qemu.Version);
            Assert.Equal(
                UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute, new FileInfo(directory).UnixFileMode);
            using var stub = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            await stub.ConnectAsync(new UnixDomainSocketEndPoint(qemu.GdbSocket));
            await stub.SendAsync("$?#3f"u8.ToArray());
            var reply = new byte[64];
            Assert.True(await stub.ReceiveAsync(reply) > 0);
            Assert.False(qemu.Exited.IsCompleted);
        }

        Assert.False(Directory.Exists(directory));
        Assert.False(Directory.Exists($"/proc/{pid}"));
    }

    [Fact]
    public async Task A_running_guest_can_be_ended_and_the_exit_code_says_that_it_was_killed()
    {
        await using var qemu = await QemuProcess.StartAsync(Tiny());
        await qemu.ContinueAsync();
        await qemu.KillAsync();
        Assert.Equal(137, await qemu.Exited);
    }

    [Fact]
    public async Task Qemus_own_words_are_in_the_error_when_it_ends_at_once()
    {
        var error = await Assert.ThrowsAsync<BootException>(() => QemuProcess.StartAsync(Tiny("-device", "no-such-device")));
        Assert.Contains("ended at once", error.Message, StringComparison.Ordinal);
        Assert.Contains("'no-such-device' is not a valid device model name", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_program_that_is_not_there_comes_with_the_command_that_installs_it()
    {
        var error = await Assert.ThrowsAsync<BootException>(
            () => QemuProcess.StartAsync(Tiny() with { Program = "qemu-system-no-such" }));
        Assert.Contains("qemu-system-no-such is not installed", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_program_that_hangs_is_ended_and_reported()
    {
        using var folder = new TemporaryFolder();
        var program = Script(folder, $"echo $$ > {folder.Path}/pid; echo not today >&2; exec sleep 1000");
        var error = await Assert.ThrowsAsync<BootException>(() => QemuProcess.StartAsync(Tiny() with { Program = program },
            TimeSpan.FromSeconds(5)));
        Assert.Contains("did not answer within 5 s", error.Message, StringComparison.Ordinal);
        Assert.Contains("not today", error.Message, StringComparison.Ordinal);
        Assert.True(await GoneAsync(int.Parse(File.ReadAllText(folder.File("pid")), CultureInfo.InvariantCulture)));
    }

    [Fact]
    public async Task Cancelling_while_it_starts_ends_it()
    {
        using var folder = new TemporaryFolder();
        var program = Script(folder, $"echo $$ > {folder.Path}/pid; exec sleep 1000");
        using var cancel = new CancellationTokenSource();
        var start = QemuProcess.StartAsync(Tiny() with { Program = program }, null, cancel.Token);
        var pid = await PidAsync(folder.File("pid"));
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => start);
        Assert.True(await GoneAsync(pid));
    }

    [Fact]
    public async Task It_lives_in_a_session_of_its_own_so_that_the_terminals_keys_do_not_reach_it()
    {
        await using var qemu = await QemuProcess.StartAsync(Tiny());
        Assert.NotEqual(SessionOf(Environment.ProcessId), SessionOf(QemuOf(qemu.Directory)));
    }

    [Fact]
    public async Task A_killed_qemu_is_noticed()
    {
        await using var qemu = await QemuProcess.StartAsync(Tiny());
        using var process = Process.GetProcessById(QemuOf(qemu.Directory));
        process.Kill();
        Assert.Equal(137, await qemu.Exited);
    }

    [Theory]
    [InlineData("running")]
    [InlineData("starting")]
    public async Task Kill_9_of_its_parent_leaves_no_qemu_and_no_directory(string moment)
    {
        using var folder = new TemporaryFolder();
        using var host = QemuHost.Start(folder.Path, moment);
        try
        {
            // "starting": killed while the start waits for a program that never answers; "running": after the start.
            var pid = await PidAsync(folder.File("qemu-pid"));
            var directory = (await ReadAsync(folder.File("directory"))).Trim();
            Assert.True(Directory.Exists($"/proc/{pid}"));
            Assert.True(Directory.Exists(directory));
            host.Kill();
            await host.WaitForExitAsync();
            Assert.True(await GoneAsync(pid), "QEMU lives on");
            for (var i = 0; i < 200 && Directory.Exists(directory); i++)
            {
                await Task.Delay(50);
            }

            Assert.False(Directory.Exists(directory));
        }
        finally
        {
            if (!host.HasExited)
            {
                host.Kill();
            }
        }
    }

    [Fact]
    public async Task A_directory_that_nobody_holds_any_more_is_removed_by_the_next_run()
    {
        var leftover = Directory.CreateTempSubdirectory("ktrace-").FullName;
        var name = Path.Combine("/tmp", "ktrace-Leftov");
        if (Directory.Exists(name))
        {
            Directory.Delete(name, recursive: true);
        }

        Directory.Move(leftover, name);
        await File.WriteAllTextAsync(Path.Combine(name, "lock"), "");
        var held = Path.Combine("/tmp", "ktrace-InUse1");
        Directory.CreateDirectory(held);
        using (new FileStream(Path.Combine(held, "lock"), FileMode.Create, FileAccess.Write, FileShare.None))
        {
            using var directory = PrivateDirectory.Create();
            // $XDG_RUNTIME_DIR is looked at first; the folder of this test is in /tmp.
            Assert.Equal(directory.Path.StartsWith("/tmp/", StringComparison.Ordinal), !Directory.Exists(name));
            Assert.True(Directory.Exists(held));
        }

        Directory.Delete(held, recursive: true);
    }

    internal static string Script(TemporaryFolder folder, string text)
    {
        var path = folder.Write("program", "#!/bin/sh\n" + text + "\n");
        new FileInfo(path).UnixFileMode = UnixFileMode.UserRead | UnixFileMode.UserExecute | UnixFileMode.UserWrite;
        return path;
    }

    /// <summary>The process whose arguments name the directory and which is no shell.</summary>
    internal static int QemuOf(string directory)
    {
        foreach (var path in Directory.EnumerateDirectories("/proc").Where(path => char.IsAsciiDigit(Path.GetFileName(path)[0])))
        {
            try
            {
                var words = File.ReadAllText(path + "/cmdline").Split('\0');
                if (words[0].Contains("qemu-system", StringComparison.Ordinal)
                    && words.Any(word => word.Contains(directory + "/", StringComparison.Ordinal)))
                {
                    return int.Parse(Path.GetFileName(path), CultureInfo.InvariantCulture);
                }
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // It has ended meanwhile.
            }
        }

        throw new InvalidOperationException("no QEMU of " + directory);
    }

    private static string SessionOf(int pid)
    {
        var stat = File.ReadAllText($"/proc/{pid}/stat");
        return stat[(stat.LastIndexOf(')') + 2)..].Split(' ')[3];
    }

    private static async Task<int> PidAsync(string file) => int.Parse(await ReadAsync(file), CultureInfo.InvariantCulture);

    private static async Task<string> ReadAsync(string file)
    {
        for (var i = 0; i < 600; i++)
        {
            if (File.Exists(file) && await File.ReadAllTextAsync(file) is { Length: > 0 } text && text.EndsWith('\n'))
            {
                return text;
            }

            await Task.Delay(50);
        }

        throw new TimeoutException(file + " did not appear");
    }

    private static async Task<bool> GoneAsync(int pid)
    {
        for (var i = 0; i < 200; i++)
        {
            // A zombie that its adopter has not reaped yet runs no more.
            var stat = File.Exists($"/proc/{pid}/stat") ? await TryReadAsync($"/proc/{pid}/stat") : "";
            if (stat.Length == 0 || stat[(stat.LastIndexOf(')') + 2)..].StartsWith('Z'))
            {
                return true;
            }

            await Task.Delay(50);
        }

        return false;
    }

    private static async Task<string> TryReadAsync(string file)
    {
        try
        {
            return await File.ReadAllTextAsync(file);
        }
        catch (IOException)
        {
            return "";
        }
    }
}
