using System.Globalization;
using System.Text.RegularExpressions;
using KTrace.Debugger.Sessions;
using KTrace.Debugger.Stepping;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Lookup;
using KTrace.Symbols.Types;

namespace KTrace.Tests.Debugger.Stepping;

/// <summary>The same steps by our stepper, in the same words.</summary>
/// <param name="file">The source file that a line without a file means.</param>
internal sealed class OurSteps(Stepper stepper, KernelMap map, StepPosition begin, string file = "") : IDisposable
{
    private readonly CodeLevels _levels = new(map);

    public StepPosition Position { get; private set; } = begin;

    /// <summary>How the last step ended.</summary>
    public SessionStop? Stop { get; private set; }

    /// <summary>Function, line and address, as <see cref="GdbSteps"/> says them.</summary>
    public string Place
    {
        get
        {
            var levels = _levels.LevelsAt(Position.ProgramCounter);
            var level = levels[Math.Min(Position.SkippedInlines, levels.Count - 1)];
            return string.Create(CultureInfo.InvariantCulture, $"{level.Function}:{level.Line}@{Position.ProgramCounter:x}");
        }
    }

    public async Task<List<string>> RunAsync(string steps, ITypeSource? types = null)
    {
        var said = new List<string> { "at " + Place };
        foreach (var word in steps.Split(' '))
        {
            var parts = Regex.Match(word, @"^([a-z]+)([0-9]*)(?:\^([0-9]+))?(?:=(\S+))?$").Groups;
            var name = parts[1].Value;
            for (var i = parts[2].Length == 0 ? 1 : int.Parse(parts[2].ValueSpan, CultureInfo.InvariantCulture); i > 0; i--)
            {
                var result = await StepAsync(name, parts[3].Length == 0 ? 0 : int.Parse(parts[3].ValueSpan, CultureInfo.InvariantCulture), parts[4].Success ? PlacesOf(parts[4].Value) : null, types);
                Stop = result.Stop;
                if (result.Position is not { } position || result.Stop is SessionStop.Stopped { Cause: StopCause.Interrupted })
                {
                    return said;
                }

                Position = position;
                said.Add($"{name} {Place}");
                if (result.Stop is SessionStop.Stopped { Cause: StopCause.FunctionReturned { Value: { } value } })
                {
                    var bytes = new byte[8];
                    value.Bytes.CopyTo(bytes);
                    said.Add("value " + (value.Bytes.Length == 4 ? BitConverter.ToInt32(bytes) : BitConverter.ToInt64(bytes)).ToString(CultureInfo.InvariantCulture));
                }
            }
        }

        return said;
    }

    public void Dispose() => stepper.Dispose();

    private IReadOnlyList<ulong> PlacesOf(string place) => place[0] == '*' && map.Image.TryFindSymbol(place[1..], out var symbol) ? [map.ToRunTime(symbol.Value)]
        : [.. new FunctionLookup(map.Image.Symbolizer).FindLine(file, int.Parse(place, CultureInfo.InvariantCulture)).SelectMany(m => m.Places).Select(p => map.ToRunTime(p.Address))];

    private ValueTask<StepResult> StepAsync(string name, int frame, IReadOnlyList<ulong>? places, ITypeSource? types) => name switch
    {
        "s" => stepper.StepAsync(StepKind.Line, Position),
        "n" => stepper.StepAsync(StepKind.LineOver, Position),
        "si" => stepper.StepAsync(StepKind.Instruction, Position),
        "ni" => stepper.StepAsync(StepKind.InstructionOver, Position),
        "until" when places is null => stepper.UntilAsync(Position),
        "until" or "advance" => stepper.UntilAsync(Position, places!, null, inFrame: name == "until"),
        "finish" => stepper.FinishAsync(Position, frame, types),
        _ => throw new ArgumentException(name),
    };
}
