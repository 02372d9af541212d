// How hits are taken: the options of ktrace record, which win over the scenario's keys of the same names.
using System.CommandLine;
using KTrace.Boot;
using KTrace.Boot.Scenarios;
using KTrace.Debugger.NonStop;
using KTrace.Debugger.NonStop.Reading;
using KTrace.Debugger.NonStop.Sites;

namespace KTrace.Cli.Verbs;

/// <summary>Reads <see cref="CaptureOptions"/> from a command line.</summary>
internal sealed class CaptureOptionsReader
{
    private const int MinimumRing = 2, MaximumRing = 1024;

    private readonly Option<bool> _stop = new("--stop") { Description = "Take every hit by stopping the machine, also where that is not needed" };
    private readonly Option<bool> _noStop = new("--no-stop") { Description = "Stop the machine for no hit; what needs a stop is an error" };
    private readonly Option<bool> _lossy = new("--lossy") { Description = "Drop hits (and count them) when they come faster than they are read; otherwise the guest waits" };
    private readonly Option<int?> _stack = new("--stack") { HelpName = "BYTES", Description = $"Stack that a hit without a stop copies at most, {CaptureOptions.MinimumStackBytes} to {CaptureOptions.MaximumStackBytes} ({CaptureOptions.DefaultStackBytes})" };
    private readonly Option<int?> _ring = new("--ring") { HelpName = "MIB", Description = $"Guest memory for hits that were not read yet: {MinimumRing} to {MaximumRing}, a power of two (as the guest's memory allows)" };
    private readonly Option<string?> _arguments = new("--arguments") { HelpName = "own|all|none", Description = "Record the arguments of the traced function alone, of every frame (all), or none: less costs less (all; of hits without stops the first thousands, then own)" };
    private readonly Option<bool> _noArguments = new("--no-arguments") { Description = "The same as --arguments none", Hidden = true };
    private readonly Option<string[]> _except = new("--except") { HelpName = "PLACE", Description = "Functions that patterns and sets leave out: a name, a pattern or a set as for -b; may be given several times" };
    private readonly Option<bool> _baseline = new("--baseline") { Description = "Boot once without tracing first, to tell what tracing costs" };
    private readonly Option<bool> _dryRun = new("--dry-run") { Description = "Boot nothing: list the functions that would be traced, how, and why; exit 1 when there are none" };

    public void AddTo(Command command)
    {
        _arguments.AcceptOnlyFromAmong("own", "all", "none");
        foreach (var option in (Option[])[_except, _dryRun, _stop, _noStop, _lossy, _stack, _ring, _arguments, _noArguments, _baseline])
        {
            command.Add(option);
        }
    }

    public bool IsDryRun(ParseResult result) => result.GetValue(_dryRun);

    /// <exception cref="BootException">A value is none, or two options exclude each other.</exception>
    public CaptureOptions Read(ParseResult result, Scenario scenario)
    {
        var (stop, noStop) = (result.GetValue(_stop), result.GetValue(_noStop));
        if (stop && noStop)
        {
            throw new BootException("--stop and --no-stop exclude each other", "without both, a hit stops the machine only where it has to");
        }

        var arguments = result.GetValue(_arguments);
        if (result.GetValue(_noArguments) && arguments is not (null or "none"))
        {
            throw new BootException($"--no-arguments and --arguments {arguments} exclude each other", "--arguments alone says which are recorded");
        }

        var choice = stop ? "stop" : noStop ? "no-stop" : scenario.Capture;
        return new CaptureOptions
        {
            Choice = choice switch { "stop" => CaptureChoice.AlwaysStop, "no-stop" => CaptureChoice.NeverStop, _ => CaptureChoice.Auto },
            Lossy = result.GetValue(_lossy) || scenario.Lossy == true,
            StackBytes = Stack(result.GetValue(_stack) ?? scenario.Stack ?? CaptureOptions.DefaultStackBytes),
            RingBytes = (result.GetValue(_ring) ?? scenario.Ring) is { } ring ? Ring(ring) << 20 : null,
            Arguments = (result.GetValue(_noArguments) ? "none" : arguments ?? scenario.Arguments) switch { "own" => ArgumentScope.Own, "all" => ArgumentScope.All, "none" => ArgumentScope.None, _ => ArgumentScope.Auto },
            Baseline = result.GetValue(_baseline),
            Except = result.GetValue(_except) is { Length: > 0 } places ? places : [.. scenario.Except],
        };
    }

    private static int Stack(int bytes) => bytes is >= CaptureOptions.MinimumStackBytes and <= CaptureOptions.MaximumStackBytes
        ? (bytes + 7) & ~7
        : throw new BootException(
            $"--stack {bytes}: a hit copies {CaptureOptions.MinimumStackBytes} to {CaptureOptions.MaximumStackBytes} bytes of stack", "paths that are cut say so: then more is needed; 4096 is enough for most");

    private static int Ring(int size) => size is >= MinimumRing and <= MaximumRing && int.IsPow2(size)
        ? size
        : throw new BootException($"--ring {size}: the ring has {MinimumRing} to {MaximumRing} MiB, a power of two", "--ring 32");
}
