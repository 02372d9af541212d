using KTrace.Symbols.Types;
using KTrace.Symbols.Unwind;

namespace KTrace.Debugger.Stepping;

/// <summary>One <c>finish</c>.</summary>
internal sealed class FinishStep(Machine machine, int level)
{
    /// <summary>The function that has returned; null for an inlined one, or when it did not.</summary>
    public string? Finished { get; private set; }

    /// <summary>It came back by a return, and the registers hold what it returned.</summary>
    public bool HasValue { get; private set; }

    /// <summary>Behind the call.</summary>
    public RegisterSet? Registers { get; private set; }

    /// <summary>Where a stack frame will return to; null at the end of a stack.</summary>
    public static (ulong Pc, FrameMark Mark)? CallerOf(UnwindResult stack, int frame)
    {
        if (frame + 1 < stack.Frames.Length)
        {
            var caller = stack.Frames[frame + 1].Registers;
            return (caller.ProgramCounter, new FrameMark(caller.StackPointer, IsUser: false, 0));
        }

        // A system call's way back: user memory tells processes apart by their page tables, which are those of now.
        return stack.Stop is UnwindStop.UserSpace { Registers: var user } && !stack.Frames.IsEmpty
            ? (user.ProgramCounter, FrameMark.At(stack.Frames[0].Registers, user.StackPointer) with { IsUser = true })
            : null;
    }

    /// <summary>The type of a function's result; null for void, and where it is not known.</summary>
    public static CType? TypeOf(string function, ITypeSource? types) =>
        types?.FindFunction(function) is { Type: FunctionType { Returns: var type } } && type.Resolved is not VoidType ? type : null;

    /// <returns>How many inlined calls begin at the new place; null when something else came first (<see cref="Walker.Stop"/>).</returns>
    /// <exception cref="TargetException">There is no such frame, or nothing that it returns to.</exception>
    public async ValueTask<int?> RunAsync(Walker walker, int skipped, CancellationToken cancellationToken)
    {
        if (walker.Code is not { } code)
        {
            throw new TargetException("nothing is known of this code: there is no frame to finish", "finish works in the kernel and its modules; stepi and nexti work anywhere");
        }

        var stack = await FrameWalk.UnwindAsync(machine, walker.Cpu, walker.Registers, code.Map, StackUnwinder.DefaultLimit, cancellationToken);
        var frames = FrameWalk.Name(stack, code.Map, code.Levels, skipped);
        if ((uint)level >= (uint)frames.Length)
        {
            throw new TargetException($"there is no frame {level}: the stack has {frames.Length}", null);
        }

        var frame = frames[level];
        if (!frame.IsInline)
        {
            var (pc, mark) = CallerOf(stack, frame.Stack) ?? throw Outermost(frame);
            if (!await walker.RunToAsync([pc], mark, cancellationToken))
            {
                return null;
            }

            (Finished, HasValue, Registers) = (frame.Level.Function, !mark.IsUser && stack.Frames[frame.Stack + 1].IsCall, walker.Registers);
        }
        else
        {
            // An inlined call further out goes on when what it called has returned.
            if (frame.Stack > 0 && (CallerOf(stack, frame.Stack - 1) is not { } inner || !await walker.RunToAsync([inner.Pc], inner.Mark, cancellationToken)))
            {
                return walker.Stop is null ? throw Outermost(frame) : null;
            }

            return await new LineStep(walker, isOver: true).LeaveAsync(frames[level + 1].Level, isInside: frame.Stack == 0, cancellationToken);
        }

        return walker.Code?.Levels.BeginningAt(walker.Pc) ?? 0;
    }

    private static TargetException Outermost(VisibleFrame frame) =>
        new($"{frame.Level.Function} is the outermost frame: it returns to nothing that is known", "continue, or until LOCATION");
}
