// Steps of a person: what gdb calls stepi, nexti, step, next, finish, until and advance. Their rules are gdb 13's; where KTrace does otherwise, docs/decisions.md ("Stepping") says why.
using KTrace.Debugger.Sessions;
using KTrace.Debugger.Values;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Types;
using KTrace.Symbols.Unwind;

namespace KTrace.Debugger.Stepping;

/// <summary>
/// Steps a CPU of a stopped machine. Where a person stands is kept by the caller: it goes in and comes out as a <see cref="StepPosition"/>. One step at a time.
/// </summary>
public sealed class Stepper : IDisposable
{
    private readonly IRunControl _control;
    private readonly Func<int, RegisterSet, StepPlace> _placeOf;
    private readonly Walker _walker;

    /// <param name="placeOf">What a CPU with these registers is at: the phase of boot decides.</param>
    public Stepper(IRunControl control, Func<int, RegisterSet, StepPlace> placeOf) =>
        (_control, _placeOf, _walker) = (control, placeOf, new Walker(control, placeOf));

    /// <summary>Steps in a kernel at its virtual addresses; programs have no names.</summary>
    public Stepper(IRunControl control, KernelMap map)
        : this(control, (_, registers) => new StepPlace(registers.ProgramCounter, FrameMark.IsInUserMode(registers) ? null : map))
    {
    }

    /// <summary>Where a person stands whom something else than a step brought here.</summary>
    /// <param name="entered">A function whose entry was asked for (a breakpoint's): its inlined calls count as entered.</param>
    public async ValueTask<StepPosition> PositionAsync(int cpu, string? entered, CancellationToken cancellationToken)
    {
        await _walker.BeginAsync(cpu, cancellationToken);
        return new StepPosition(cpu, _walker.Pc, BeginningAt(_walker, entered));
    }

    /// <summary><c>stepi</c>, <c>nexti</c>, <c>step</c>, <c>next</c>, so many times; less when something else stops the machine.</summary>
    /// <exception cref="Rsp.RspException">The stub is broken.</exception>
    public ValueTask<StepResult> StepAsync(StepKind kind, StepPosition from, int count = 1, CancellationToken cancellationToken = default) =>
        WalkAsync(from, new StopCause.StepDone(), async walker =>
        {
            int? skipped = from.SkippedInlines;
            for (var i = 0; i < count && skipped is { } here; i++)
            {
                skipped = kind switch
                {
                    StepKind.Instruction => (await walker.StepAsync(cancellationToken)).Kind == HopKind.Interrupted ? null : 0,
                    StepKind.InstructionOver => await OverInstructionAsync(walker, cancellationToken),
                    StepKind.Line when here > 0 => here - 1,
                    _ => await new LineStep(walker, kind == StepKind.LineOver).RunAsync(here, untilBehind: false, cancellationToken),
                };
            }

            return skipped;
        }, cancellationToken);

    /// <summary><c>until</c> without a place: as <c>next</c>, but not back: a loop runs to its end.</summary>
    public ValueTask<StepResult> UntilAsync(StepPosition from, CancellationToken cancellationToken = default) =>
        WalkAsync(from, new StopCause.StepDone(), walker => new LineStep(walker, isOver: true).RunAsync(from.SkippedInlines, untilBehind: true, cancellationToken), cancellationToken);

    /// <summary>
    /// <c>until</c> and <c>advance</c> with a place: runs to it, or to where the present function returns.
    /// </summary>
    /// <param name="addresses">Run-time addresses of the place.</param>
    /// <param name="function">That the place names, if it names one: where it is inlined it counts as entered.</param>
    /// <param name="inFrame"><c>until</c>: only this activation of the present function counts, not a recursion, and no other function.</param>
    public ValueTask<StepResult> UntilAsync(StepPosition from, IReadOnlyList<ulong> addresses, string? function, bool inFrame, CancellationToken cancellationToken = default) =>
        WalkAsync(from, new StopCause.PlaceReached(), async walker =>
        {
            var targets = new List<ulong>(addresses);
            (ulong Pc, FrameMark Mark)? caller = null;
            ulong? frame = null;
            var hasReturned = false;
            if (walker.Code is { } code)
            {
                frame = FrameWalk.FrameAddress(walker.Registers, walker.Pc, code.Map);
                var stack = await FrameWalk.UnwindAsync(_control.Machine, walker.Cpu, walker.Registers, code.Map, 2, cancellationToken);
                caller = FinishStep.CallerOf(stack, 0);
            }

            if (caller is { } known && !targets.Contains(known.Pc))
            {
                targets.Add(known.Pc);
            }

            bool IsReached(int cpu, RegisterSet registers)
            {
                var (pc, map) = _placeOf(cpu, registers);
                if (addresses.Contains(pc) && (!inFrame || walker.Code is not { } own || IsIn(own, pc, map, registers)))
                {
                    return true;
                }

                return hasReturned = caller is { } back && pc == back.Pc && back.Mark.Matches(registers);
            }

            bool IsIn(StepCode own, ulong pc, KernelMap? map, RegisterSet registers) =>
                map == own.Map && own.IsSameFunction(from.ProgramCounter, pc) && (frame is null || FrameWalk.FrameAddress(registers, pc, map) is not { } there || there == frame);

            // Inlined calls that begin where the caller goes on count as entered, as gdb has it, unlike after finish.
            return await walker.RunToAsync(targets, IsReached, cancellationToken) ? hasReturned ? 0 : BeginningAt(walker, function) : null;
        }, cancellationToken);

    /// <summary><c>finish</c>: runs until a frame of the call path has returned; an inlined one, until its code is left.</summary>
    /// <param name="level">Which frame, counted as people see them, inlined ones too: 0 is the innermost.</param>
    /// <param name="types">For the returned value; null: none is told.</param>
    /// <exception cref="TargetException">There is no such frame, or nothing that it returns to.</exception>
    public async ValueTask<StepResult> FinishAsync(StepPosition from, int level = 0, ITypeSource? types = null, CancellationToken cancellationToken = default)
    {
        var finish = new FinishStep(_control.Machine, level);
        var result = await WalkAsync(from, new StopCause.StepDone(), walker => finish.RunAsync(walker, from.SkippedInlines, cancellationToken), cancellationToken);
        return result is { Stop: SessionStop.Stopped { Cause: StopCause.StepDone } stopped, Position: not null } && finish.Finished is { } function
            ? result with { Stop = stopped with { Cause = new StopCause.FunctionReturned(function, ReturnValue.Of(finish.HasValue ? FinishStep.TypeOf(function, types) : null, finish.Registers!)) } }
            : result;
    }

    public void Dispose() => _walker.Dispose();

    private static async ValueTask<int?> OverInstructionAsync(Walker walker, CancellationToken cancellationToken)
    {
        var hop = await walker.HopAsync(cancellationToken);
        return hop.Kind switch
        {
            HopKind.Interrupted => null,
            HopKind.Called => await walker.PassAsync(hop, cancellationToken) ? 0 : null,
            _ => 0,
        };
    }

    private static int BeginningAt(Walker walker, string? entered = null) =>
        walker.Code?.Levels.BeginningAt(walker.Pc, entered) ?? 0;

    private async ValueTask<StepResult> WalkAsync(StepPosition from, StopCause done, Func<Walker, ValueTask<int?>> walk, CancellationToken cancellationToken)
    {
        var walker = _walker;
        await walker.BeginAsync(from.Cpu, cancellationToken);
        if (await walk(walker) is { } skipped)
        {
            return new StepResult(new SessionStop.Stopped(done, walker.Cpu, walker.Pc), new StepPosition(walker.Cpu, walker.Pc, skipped));
        }

        return walker.Stop switch
        {
            SessionStop.Stopped stopped => new StepResult(stopped, await PositionAsync(stopped.Cpu, null, cancellationToken)),
            { } ended => new StepResult(ended, null),
            _ => throw new InvalidOperationException("a step that is not done was interrupted"),
        };
    }
}
