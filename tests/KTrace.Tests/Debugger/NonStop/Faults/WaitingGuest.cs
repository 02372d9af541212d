using System.Globalization;
using System.Net.Sockets;
using System.Text;
using System.Text.RegularExpressions;
using KTrace.Debugger.NonStop.Ring;

namespace KTrace.Tests.Debugger.NonStop.Faults;

/// <summary>QEMU's monitor for people (docs/system/monitor.rst), at a socket.</summary>
internal sealed class QemuMonitor : IDisposable
{
    private const string Ready = "(qemu) ";

    private readonly Socket _socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified) { ReceiveTimeout = 60_000 };

    public QemuMonitor(string path)
    {
        _socket.Connect(new UnixDomainSocketEndPoint(path));
        Answer();
    }

    /// <summary>What it says to a command, the command's own echo before it.</summary>
    public string Ask(string command)
    {
        _socket.Send(Encoding.ASCII.GetBytes(command + "\n"));
        return Answer();
    }

    public void Dispose() => _socket.Dispose();

    private string Answer()
    {
        var said = new StringBuilder();
        var bytes = new byte[4096];
        while (!said.ToString().EndsWith(Ready, StringComparison.Ordinal))
        {
            var count = _socket.Receive(bytes);
            Assert.True(count > 0, "the monitor is gone; it said: " + said);
            said.Append(Encoding.ASCII.GetString(bytes, 0, count));
        }

        return said.ToString();
    }
}

/// <summary>A guest that runs, and stays in a trampoline because the ring is full.</summary>
/// <param name="Pc">Of a CPU there.</param>
internal sealed partial record WaitingGuest(ulong Pc, ulong Head, ulong Tail, ulong Waits)
{
    private const int Samples = 40;
    private const int Page = 2 << 20;

    // --ring 2; a record is at most its header and 4096 bytes of stack.
    private const ulong Ring = 2 << 20, LargestRecord = RecordFormat.CallHeader + 4096;

    // Above the modules: where KTrace's code lies.
    private const ulong TracerCode = 0xffff_ffff_e000_0000, TracerEnd = 0xffff_ffff_ff00_0000;

    /// <summary>Looks until two looks, one after the other, see the same; null: it does not run, or goes on.</summary>
    public static WaitingGuest? Find(QemuMonitor monitor)
    {
        WaitingGuest? before = null;
        for (var i = 0; i < Samples && monitor.Ask("info status").Contains("VM status: running", StringComparison.Ordinal); i++)
        {
            var now = Look(monitor);
            if (now is not null && before is not null && (now.Head, now.Tail) == (before.Head, before.Tail) && now.Pc / Page == before.Pc / Page)
            {
                return now;
            }

            before = now;
            Thread.Sleep(100);
        }

        return null;
    }

    private static WaitingGuest? Look(QemuMonitor monitor)
    {
        var pc = Counters().Matches(monitor.Ask("info registers -a")).Select(m => Number(m)).FirstOrDefault(p => p is >= TracerCode and < TracerEnd);
        var control = (pc / Page * Page) + Page;
        return pc != 0 && Word(monitor, control + ControlBlock.Head) is { } head && Word(monitor, control + ControlBlock.Tail) is { } tail && Word(monitor, control + ControlBlock.Waits) is > 0 and var waits
            && head - tail is <= Ring and > Ring - LargestRecord
            ? new WaitingGuest(pc, head, tail, waits)
            : null;
    }

    private static ulong? Word(QemuMonitor monitor, ulong address) =>
        Words().Match(monitor.Ask(string.Create(CultureInfo.InvariantCulture, $"x/1gx 0x{address:x}"))) is { Success: true } match ? Number(match) : null;

    private static ulong Number(Match match) => ulong.Parse(match.Groups[1].Value, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);

    [GeneratedRegex("RIP=([0-9a-f]{16})")]
    private static partial Regex Counters();

    [GeneratedRegex(@"[0-9a-f]{16}: 0x([0-9a-f]{16})")]
    private static partial Regex Words();
}
