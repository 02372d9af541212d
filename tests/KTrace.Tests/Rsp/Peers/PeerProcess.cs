using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;
using KTrace.Tests.Support;

namespace KTrace.Tests.Rsp.Peers;

/// <summary>A stub's process: ended with the test, with what it wrote to standard error kept for the message.</summary>
internal sealed class PeerProcess : IAsyncDisposable
{
    private readonly Process _process;
    private readonly StringBuilder _errors = new();

    public PeerProcess(string program, params string[] arguments)
    {
        Skip.IfNot(PeerProgram.IsInstalled(program), $"{program} is not installed (./test installs it)");
        _process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true })!;
        _process.OutputDataReceived += (_, _) => { };
        _process.ErrorDataReceived += (_, line) => KeepError(line.Data);
        _process.BeginOutputReadLine();
        _process.BeginErrorReadLine();
    }

    public int Id => _process.Id;

    public bool HasExited => _process.HasExited;

    public string Errors
    {
        get
        {
            lock (_errors)
            {
                return _errors.ToString();
            }
        }
    }

    /// <summary>A port of this machine that nobody listens on at the moment.</summary>
    public static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }

    /// <summary>Whether somebody listens at the unix socket: its file is there a moment earlier, and a connection to try would be taken for the debugger's.</summary>
    public static bool IsListening(string path) => File.ReadLines("/proc/net/unix").Any(line => line.EndsWith(" " + path, StringComparison.Ordinal)
        && line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[3] == "00010000");

    /// <summary>Waits for a condition of the process; fails when it ends before.</summary>
    public async Task UntilAsync(Func<bool> condition)
    {
        for (var ends = Environment.TickCount64 + 60_000; !condition();)
        {
            Assert.True(Environment.TickCount64 < ends, $"{_process.StartInfo.FileName} is not ready after a minute: {Errors}");
            Assert.False(_process.HasExited, $"{_process.StartInfo.FileName} ended: {Errors}");
            await Task.Delay(5);
        }
    }

    public async Task<int> ExitCodeAsync()
    {
        await _process.WaitForExitAsync().WaitAsync(TimeSpan.FromMinutes(1));
        return _process.ExitCode;
    }

    public void Kill() => _process.Kill();

    /// <summary>Stops or continues the process as a whole: its sockets stay open and nobody answers.</summary>
    public void Signal(string name) => PeerProgram.Run("kill", ["-" + name, _process.Id.ToString(System.Globalization.CultureInfo.InvariantCulture)]);

    public async ValueTask DisposeAsync()
    {
        _process.Kill(entireProcessTree: true);
        await _process.WaitForExitAsync();
        _process.Dispose();
    }

    private void KeepError(string? line)
    {
        lock (_errors)
        {
            _errors.AppendLine(line);
        }
    }
}
