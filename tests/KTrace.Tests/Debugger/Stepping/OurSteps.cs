using System.Globalization;
using KTrace.Debugger.Sessions;
using KTrace.Debugger.Stepping;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Lookup;
using KTrace.Symbols.Types;

namespace KTrace.Tests.Debugger.Stepping;

/// <summary>The same steps by our stepper, in the same words.</summary>
internal sealed class OurSteps(Stepper stepper, KernelMap map, StepPosition begin) : IDisposable
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
            var name = word.TrimEnd([.. "0123456789"]);
            for (var i = name.Length == word.Length ? 1 : int.Parse(word.AsSpan(name.Length), CultureInfo.InvariantCulture); i > 0; i--)
            {
                var result = await StepAsync(name, types);
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

    private ValueTask<StepResult> StepAsync(string name, ITypeSource? types) => name switch
    {
        "s" => stepper.StepAsync(StepKind.Line, Position),
        "n" => stepper.StepAsync(StepKind.LineOver, Position),
        "si" => stepper.StepAsync(StepKind.Instruction, Position),
        "ni" => stepper.StepAsync(StepKind.InstructionOver, Position),
        "until" => stepper.UntilAsync(Position),
        "finish" => stepper.FinishAsync(Position, 0, types),
        _ => throw new ArgumentException(name),
    };
}
