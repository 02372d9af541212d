using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using KTrace.Boot;
using KTrace.Boot.Images;
using KTrace.Boot.Kernels;
using KTrace.Boot.Scenarios;
using KTrace.Rsp;
using KTrace.Tests.Boot;

namespace KTrace.Tests.Debugger.Attach;

/// <summary>A QEMU as somebody starts it by hand: its stub on a TCP port, its console on a terminal, a shell in the guest.</summary>
internal sealed class ForeignGuest : IAsyncDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(2);

    private readonly Process _process;
    private readonly TemporaryFolder _cache;
    private readonly StringBuilder _console = new();
    private readonly Task _reading;
    private int _questions;
    private bool _isOver;

    private ForeignGuest(Process process, TemporaryFolder cache, int port)
    {
        (_process, _cache, Endpoint) = (process, cache, RspEndpoint.Parse($"tcp:127.0.0.1:{port}"));
        _reading = Task.Run(async () =>
        {
            var buffer = new char[4096];
            while (await process.StandardOutput.ReadAsync(buffer) is > 0 and var count)
            {
                lock (_console)
                {
                    _console.Append(buffer, 0, count);
                }
            }
        });
    }

    public RspEndpoint Endpoint { get; }

    public string Console
    {
        get
        {
            lock (_console)
            {
                return _console.ToString();
            }
        }
    }

    /// <param name="begin">Shell commands before the shell.</param>
    /// <param name="extra">QEMU's own arguments, such as -S.</param>
    public static async Task<ForeignGuest> StartAsync(OracleKernel kernel, string append, int cpus = 1, string begin = "", params string[] extra)
    {
        var cache = new TemporaryFolder();
        string[] modules = kernel.Modules is null ? [] : ["e1000e"];
        var scenario = new Scenario
        {
            Kernel = new KernelChoice { Image = kernel.Image, Vmlinux = kernel.Vmlinux, Modules = kernel.Modules, DebugModules = kernel.DebugModules },
            Initramfs = new InitramfsChoice
            {
                Build = new InitramfsDescription
                {
                    Modules = [.. modules],
                    Script = "#!/bin/sh\nexport PATH=/bin:/sbin:/usr/bin:/usr/sbin\nmount -t proc proc /proc\nmount -t sysfs sysfs /sys\necho 1 > /proc/sys/kernel/printk\n"
                        + string.Concat(modules.Select(m => $"insmod $(find /lib/modules -name '{m}.ko*')\n")) + begin + "\necho READY\nexec sh\n",
                    Busybox = kernel.Busybox,
                },
            },
            Append = "console=ttyS0 " + append,
            Architecture = kernel.Architecture,
            Cpus = cpus,
        };
        var boot = await PreparedBoot.PrepareAsync(scenario, new KernelStore(cache.Path));
        var port = FreePort();

        // Should this process be killed, the machine ends by itself.
        string[] arguments =
        [
            "-k", "1", "600", boot.CommandLine.Program, .. boot.CommandLine.Guest, "-gdb", string.Create(CultureInfo.InvariantCulture, $"tcp:127.0.0.1:{port}"),
            "-serial", "stdio", "-monitor", "none", .. extra,
        ];
        var process = Process.Start(new ProcessStartInfo("timeout", arguments) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true })!;
        _ = process.StandardError.ReadToEndAsync();
        return new ForeignGuest(process, cache, port);
    }

    /// <summary>The guest's shell is there.</summary>
    public Task WaitUntilReadyAsync() => WaitForAsync("READY");

    /// <summary>Runs a command in the guest's shell.</summary>
    /// <returns>What it printed.</returns>
    public async Task<string> AskAsync(string command)
    {
        // The terminal echoes what is typed, with the quotes.
        var number = ++_questions;
        var (begin, end) = ($"BEGIN{number}\r\n", $"END{number}\r\n");
        await _process.StandardInput.WriteAsync($"echo BEG''IN{number}; {command}; echo E''ND{number}\n");
        await _process.StandardInput.FlushAsync();
        await WaitForAsync(end);
        var text = Console;
        var start = text.IndexOf(begin, StringComparison.Ordinal) + begin.Length;
        return text[start..text.IndexOf(end, start, StringComparison.Ordinal)].Trim();
    }

    /// <summary>The hexadecimal number at the beginning of what a command prints.</summary>
    public async Task<ulong> AskAddressAsync(string command)
    {
        var answer = await AskAsync(command);
        var word = answer.Split(' ')[0];
        return ulong.Parse(word.StartsWith("0x", StringComparison.Ordinal) ? word[2..] : word, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);
    }

    /// <summary>Ends QEMU; a second time it does nothing.</summary>
    public async ValueTask DisposeAsync()
    {
        if (_isOver)
        {
            return;
        }

        _isOver = true;
        _process.Kill(entireProcessTree: true);
        await _process.WaitForExitAsync();
        await _reading;
        _process.Dispose();
        _cache.Dispose();
    }

    private async Task WaitForAsync(string text)
    {
        for (var waited = Stopwatch.StartNew(); !Console.Contains(text, StringComparison.Ordinal); await Task.Delay(10))
        {
            Assert.False(_process.HasExited, Console);
            Assert.True(waited.Elapsed < Patience, $"no '{text}' on the console: {Console}");
        }
    }

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }
}
