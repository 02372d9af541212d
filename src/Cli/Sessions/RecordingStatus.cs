using System.Diagnostics;
using System.Globalization;
using KTrace.Boot;
using KTrace.Boot.Qemu;
using KTrace.Debugger;
using KTrace.Debugger.Recording;
using KTrace.Tracing;
using KTrace.Tui.Views;

namespace KTrace.Cli.Sessions;

/// <summary>What a person sees while a boot is prepared and recorded: one line on stderr, and the notes that stay.</summary>
internal sealed class RecordingStatus : IBootProgress, ITargetProgress, IRecordingProgress, IDisposable
{
    private readonly StatusLine _line;
    private readonly BootProgressLine _preparation;
    private readonly Stopwatch _elapsed = new();
    private QemuProcess? _qemu;
    private Timer? _tick;
    private long _hits;

    public RecordingStatus()
    {
        _line = new StatusLine();
        _preparation = new BootProgressLine(_line);
    }

    public void Report(BootProgress progress) => _preparation.Report(progress);

    /// <summary>QEMU runs: from now on the line moves by itself.</summary>
    public void Booting(QemuProcess qemu)
    {
        _qemu = qemu;
        _elapsed.Restart();
        _tick = new Timer(_ => Refresh(), null, 0, 200);
    }

    public void Identified(ulong slide) =>
        _line.Say(slide == 0 ? "kernel identified by its build id, no KASLR" : $"kernel identified by its build id, KASLR slide 0x{slide:x}");

    public void Hit(TraceRecord.Hit hit) => Interlocked.Exchange(ref _hits, hit.Sequence);

    public void Reached(long sequence) => Interlocked.Exchange(ref _hits, sequence);

    public void Note(string text, bool isWarning) => _line.Say(TerminalText.Sanitize(isWarning ? "warning: " + text : text));

    public void Say(string text) => _line.Say(text);

    public void Dispose()
    {
        _tick?.Dispose();
        _line.Dispose();
    }

    private void Refresh()
    {
        var hits = Interlocked.Read(ref _hits);
        _line.Show(string.Create(
            CultureInfo.InvariantCulture, $"{hits} hit{(hits == 1 ? "" : "s")}  {_elapsed.Elapsed.TotalSeconds:0.0} s  {TerminalText.Sanitize(_qemu?.Console.LastLine ?? "")}"));
    }
}
