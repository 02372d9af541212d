using KTrace.Tracing;

namespace KTrace.Tests.Cli;

/// <summary>The demo's scenario, recorded once by the real program, for all tests that ask what a recording holds.</summary>
public sealed class RecordedBoots : IDisposable
{
    private readonly Lazy<Trace> _plain;
    private readonly Lazy<Trace> _stopping;
    private readonly Lazy<Trace> _several;

    public RecordedBoots()
    {
        _plain = new(() => Record("plain.ktrace", "e1000e-msix"));
        _stopping = new(() => Record("stopping.ktrace", "e1000e-msix", "--stop"));
        _several = new(() => Record(
            "several.ktrace", "e1000e-msix", "--cpus", "4", "-b", "irq_msi_compose_msg", "-b", "request_threaded_irq", "-b", "e1000e_open", "-b", "e1000e:e1000_init_module"));
    }

    internal KTraceProgram Program { get; } = new();

    /// <summary>As the demo records it: one CPU, no KASLR.</summary>
    public Trace Plain => _plain.Value;

    /// <summary>The same, the machine stopped at each hit.</summary>
    public Trace Stopping => _stopping.Value;

    /// <summary>The same on four CPUs, with tracepoints in the module too.</summary>
    public Trace FourCpus => _several.Value;

    internal KTraceRun? PlainRun { get; private set; }

    internal KTraceRun? FourCpusRun { get; private set; }

    public void Dispose() => Program.Dispose();

    private Trace Record(string file, params string[] arguments)
    {
        var run = Program.Run(["record", .. arguments, "-o", file]);
        Assert.True(run.ExitCode == 0, run.Errors);
        _ = file switch
        {
            "plain.ktrace" => PlainRun = run,
            "several.ktrace" => FourCpusRun = run,
            _ => run,
        };
        return Trace.Load(Program.PathOf(file), keepRegisters: true);
    }
}
