// A step off a breakpoint may end without its instruction: the instruction faults (a page of its operand has to be brought in), or an interrupt comes first where a stub
// cannot mask it, and execution comes back to the same instruction later; or the stub had one more stop to make, and nothing was executed. Coming back is no second
// arrival: who counts it would record a call twice.
using KTrace.Symbols.Arch;
using KTrace.Symbols.Unwind;

namespace KTrace.Debugger.Stepping;

/// <summary>What a step off an instruction came to.</summary>
internal enum StepEnd
{
    /// <summary>The instruction was executed.</summary>
    Executed,

    /// <summary>Nothing changed: nothing was executed, or a jump to itself.</summary>
    Nothing,

    /// <summary>An interrupt or exception came in its place, and will return to it.</summary>
    PutOff,
}

/// <summary>Instructions with breakpoints that were put off by an interrupt or exception, until execution comes back to them.</summary>
internal sealed class PutOffInstructions(Machine machine)
{
    /// <summary>A step that does nothing is taken again, so often: another CPU may have left the stub with a stop to make. A jump to itself does nothing either.</summary>
    public const int MaximumSteps = 3;

    // A task each, at most; one that never comes back (a fault that ended its program) must not stay for ever.
    private const int Maximum = 256;

    // An instruction of x86 has at most 15 bytes (Intel SDM volume 2, 2.3.11).
    private const ulong LongestInstruction = 15;

    private readonly Dictionary<(ulong Address, ulong StackPointer), ulong> _frames = [];

    /// <summary>Looks at a CPU that was let do one step.</summary>
    /// <param name="before">Its registers before that.</param>
    public async ValueTask<StepEnd> AfterStepAsync(int cpu, RegisterSet before, CancellationToken cancellationToken)
    {
        var (now, address, stackPointer) = (await machine.RegistersAsync(cpu, cancellationToken), before.ProgramCounter, before.StackPointer);
        if (now.HasValuesOf(before))
        {
            return StepEnd.Nothing;
        }

        // Most instructions lead to the one behind them, and cost no look at the stack.
        if (now.ProgramCounter - address <= LongestInstruction || await FrameAsync(cpu, now, address, stackPointer, cancellationToken) is not { } frame)
        {
            return StepEnd.Executed;
        }

        if (_frames.Count >= Maximum)
        {
            _frames.Remove(_frames.Keys.First());
        }

        _frames[(address, stackPointer)] = frame;
        return StepEnd.PutOff;
    }

    /// <summary>
    /// Whether a CPU that stopped at a breakpoint came back from the interrupt that put the instruction off. An exception handler that gave up has changed the address in its frame,
    /// so that what arrives later with the same stack is told from a return.
    /// </summary>
    public async ValueTask<bool> IsReturnAsync(int cpu, RegisterSet registers, CancellationToken cancellationToken) =>
        _frames.Remove((registers.ProgramCounter, registers.StackPointer), out var frame)
            && await ReadWordAsync(cpu, frame, cancellationToken) == registers.ProgramCounter;

    /// <summary>
    /// Where the processor put the address of the instruction when it entered a handler: on top of the stack, or behind an error code; in 64-bit mode always, in 32-bit mode
    /// on a change of privilege only, together with the stack pointer (Intel SDM volume 3, 6.12.1 and 6.14.2).
    /// </summary>
    private async ValueTask<ulong?> FrameAsync(int cpu, RegisterSet now, ulong address, ulong stackPointer, CancellationToken cancellationToken)
    {
        var size = (ulong)machine.Architecture.WordSize;
        for (var words = 0UL; words <= 1; words++)
        {
            var frame = now.StackPointer + (words * size);
            if (await ReadWordAsync(cpu, frame, cancellationToken) == address
                && ((machine.Architecture is I386 && frame + (3 * size) == stackPointer) || await ReadWordAsync(cpu, frame + (3 * size), cancellationToken) == stackPointer))
            {
                return frame;
            }
        }

        return null;
    }

    private async ValueTask<ulong?> ReadWordAsync(int cpu, ulong address, CancellationToken cancellationToken)
    {
        await machine.SelectAsync(cpu, cancellationToken);
        try
        {
            return await machine.Memory.TryReadWordAsync(address, cancellationToken);
        }
        finally
        {
            await machine.SelectAsync(machine.StoppedCpu, CancellationToken.None);
        }
    }
}
