// Lets a CPU execute one instruction at a time and says what became of each: by what the instruction is, not by unwinding, so that a step costs one round trip and its
// registers. What no person means by an instruction is passed: thunks, static call trampolines, and exceptions that the kernel handles on the way (a page that is brought in).
using KTrace.Debugger.Sessions;
using KTrace.Rsp;
using KTrace.Rsp.Commands;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Disassembly;
using KTrace.Symbols.Unwind;

namespace KTrace.Debugger.Stepping;

/// <summary>A CPU that is walked through code. Between <see cref="BeginAsync"/> and the next nobody else may let the machine run.</summary>
internal sealed class Walker : IDisposable
{
    // A thunk has a handful of instructions.
    private const int MaximumThunk = 64;

    // An instruction may fault for its code, for each of its operands, and again when the page went away meanwhile.
    private const int MaximumTraps = 16;

    // A run to a breakpoint costs as much as this many steps (both measured with QEMU 7.2, TCG: 1.4 ms and 0.2 ms).
    private const ulong ManyRepetitions = 8;

    // What an instruction moves the stack pointer by, mostly; an interrupt's frame is larger.
    private const ulong Near = 128;
    private const ulong PageSize = 4096;

    private readonly IRunControl _control;
    private readonly Func<int, RegisterSet, StepPlace> _placeOf;
    private readonly CodeWindow _window;
    private bool? _masksInterrupts;

    public Walker(IRunControl control, Func<int, RegisterSet, StepPlace> placeOf)
    {
        (_control, _placeOf) = (control, placeOf);
        _window = new CodeWindow(control.Machine);
        Registers = new RegisterSet(control.Machine.Architecture);
    }

    public int Cpu { get; private set; }

    public RegisterSet Registers { get; private set; }

    /// <summary>Linear.</summary>
    public ulong Pc { get; private set; }

    /// <summary>What is known of the code there; null: nothing.</summary>
    public StepCode? Code { get; private set; }

    /// <summary>Why the walk is over, once a hop or a run was interrupted.</summary>
    public SessionStop? Stop { get; private set; }

    public bool IsInUserMode => FrameMark.IsInUserMode(Registers);

    public async ValueTask BeginAsync(int cpu, CancellationToken cancellationToken)
    {
        Stop = null;
        _window.Forget();
        _masksInterrupts ??= await AsksForMaskAsync(cancellationToken);
        Stand(cpu, await _control.Machine.RegistersAsync(cpu, cancellationToken));
    }

    /// <summary>What an instruction does to control flow; null where none can be read.</summary>
    public ValueTask<InstructionFlow?> DecodeAsync(ulong address, CancellationToken cancellationToken) => _window.DecodeAsync(Cpu, Registers, address, cancellationToken);

    /// <summary>Exactly one instruction, as the processor counts them; where interrupts cannot be masked, without those that come in between.</summary>
    public async ValueTask<Hop> StepAsync(CancellationToken cancellationToken)
    {
        var (before, decoded) = (Registers, await DecodeAsync(Pc, cancellationToken));
        if (decoded is { Kind: FlowKind.Wait } wait)
        {
            return await WaitAsync(wait, cancellationToken);
        }

        if (!await ExecuteAsync(cancellationToken))
        {
            return new Hop(HopKind.Interrupted);
        }

        return _masksInterrupts == true || decoded is not { } flow || !IsTrap(in flow) || Code?.IsInterruptEntry(Pc) != true
            || await RunAcrossAsync(flow, before, cancellationToken) ? new Hop(HopKind.Moved) : new Hop(HopKind.Interrupted);
    }

    /// <summary>Whether registers are of the activation in which this CPU is now, as far as the rows of the place tell.</summary>
    public Func<int, RegisterSet, bool> SameActivation()
    {
        var (here, place) = (Registers, _placeOf);
        var frame = Code is { } code ? FrameWalk.FrameAddress(here, Pc, code.Map) : null;
        return (cpu, registers) =>
        {
            var (pc, map) = place(cpu, registers);
            return frame is not null && map is not null && FrameWalk.FrameAddress(registers, pc, map) is { } there
                ? there == frame
                : registers.StackPointer + Near >= here.StackPointer && registers.StackPointer <= here.StackPointer + Near;
        };
    }

    /// <summary>One instruction as source code means it: with the thunk that it leads through, past exceptions, with all of its repetitions.</summary>
    public async ValueTask<Hop> HopAsync(CancellationToken cancellationToken)
    {
        for (var trap = 0; ; trap++)
        {
            var (from, before, code) = (Pc, Registers, Code);
            var decoded = await _window.DecodeAsync(Cpu, Registers, Pc, cancellationToken);
            if (decoded is { Kind: FlowKind.Wait } wait)
            {
                return await WaitAsync(wait, cancellationToken);
            }

            if (decoded is { Kind: FlowKind.Repeat } repeat && Repetitions >= ManyRepetitions)
            {
                return await RunToAsync([repeat.Next], FrameMark.Of(Registers), cancellationToken) ? new Hop(HopKind.Moved) : new Hop(HopKind.Interrupted);
            }

            if (!await ExecuteAsync(cancellationToken))
            {
                return new Hop(HopKind.Interrupted);
            }

            var flow = decoded ?? new InstructionFlow(FlowKind.Sequential, from, 0, 0);
            if (IsTrap(in flow))
            {
                if (_masksInterrupts == false && Code?.IsInterruptEntry(Pc) == true && flow.Next != 0)
                {
                    if (!await RunAcrossAsync(flow, before, cancellationToken))
                    {
                        return new Hop(HopKind.Interrupted);
                    }

                    return await ArriveAsync(flow, before, code, cancellationToken);
                }

                if (trap == MaximumTraps || !await PassTrapAsync(flow, before, code, cancellationToken))
                {
                    return new Hop(Stop is null ? HopKind.Trapped : HopKind.Interrupted);
                }

                if (Pc == from)
                {
                    continue;
                }

                return new Hop(HopKind.Moved);
            }

            return await ArriveAsync(flow, before, code, cancellationToken);
        }
    }

    /// <summary>Lets all CPUs run until the activation comes to one of the addresses; false when something came first (<see cref="Stop"/>).</summary>
    public ValueTask<bool> RunToAsync(IReadOnlyList<ulong> addresses, FrameMark mark, CancellationToken cancellationToken) =>
        RunToAsync(addresses, (_, registers) => mark.Matches(registers), cancellationToken);

    public async ValueTask<bool> RunToAsync(IReadOnlyList<ulong> addresses, Func<int, RegisterSet, bool> isReached, CancellationToken cancellationToken)
    {
        _window.Forget();
        switch (await _control.RunToAsync(addresses, isReached, cancellationToken))
        {
            case StepStop.Reached reached:
                Stand(reached.Cpu, reached.Registers);
                return true;
            case StepStop.Interrupted interrupted:
                Stop = interrupted.Stop;
                return false;
            default:
                throw new InvalidOperationException("a run ends at an address or is interrupted");
        }
    }

    /// <summary>Runs a call that was just entered to its return.</summary>
    public ValueTask<bool> PassAsync(Hop call, CancellationToken cancellationToken) => RunToAsync([call.ReturnAddress], call.Mark, cancellationToken);

    /// <summary>Runs a function that stands at its entry, having been jumped to, to its return; false when that cannot be told, or something came first.</summary>
    public async ValueTask<bool> PassTailCallAsync(CancellationToken cancellationToken)
    {
        var machine = _control.Machine;
        await machine.SelectAsync(Cpu, cancellationToken);
        return await machine.Memory.TryReadWordAsync(Registers.StackPointer, cancellationToken) is { } returnAddress
            && await RunToAsync([returnAddress], FrameMark.At(Registers, Registers.StackPointer + (ulong)machine.Architecture.WordSize), cancellationToken);
    }

    public void Dispose() => _window.Dispose();

    private ulong Repetitions => Registers[Registers.Architecture is X86_64 ? X86_64.Rcx : I386.Ecx];

    private void Stand(int cpu, RegisterSet registers)
    {
        (Cpu, Registers) = (cpu, registers);
        var (pc, map) = _placeOf(cpu, registers);
        Pc = pc;
        Code = map is null ? null : Code?.Map == map ? Code : StepCode.Of(map);
    }

    private async ValueTask<bool> ExecuteAsync(CancellationToken cancellationToken)
    {
        switch (await _control.StepInstructionAsync(Cpu, cancellationToken))
        {
            case StepStop.Stepped stepped:
                Stand(stepped.Cpu, stepped.Registers);
                return true;
            case StepStop.Interrupted interrupted:
                Stop = interrupted.Stop;
                return false;
            default:
                throw new InvalidOperationException("a step ends behind its instruction or is interrupted");
        }
    }

    /// <summary>hlt waits for an interrupt, which a step with interrupts masked never gets: the machine runs until it goes on behind it.</summary>
    private async ValueTask<Hop> WaitAsync(InstructionFlow wait, CancellationToken cancellationToken) =>
        await RunToAsync([wait.Next], FrameMark.Of(Registers), cancellationToken) ? new Hop(HopKind.Moved) : new Hop(HopKind.Interrupted);

    /// <summary>Execution is where the instruction could not lead, at code that exceptions enter. (Behind mov ss one more instruction runs, too.)</summary>
    private bool IsTrap(in InstructionFlow flow) =>
        Pc != flow.Next && flow.Kind is not (FlowKind.SystemCall or FlowKind.InterruptReturn) && (flow.Target == 0 || Pc != flow.Target) && Code is { } code && code.IsTrapEntry(Pc);

    /// <summary>
    /// An interrupt came in the place of an instruction, as the stub cannot mask it: back to the instruction, and across it to wherever it leads, with breakpoints, as one step after
    /// the other could meet the next interrupt. Where its way is not known, it is stepped.
    /// </summary>
    private async ValueTask<bool> RunAcrossAsync(InstructionFlow flow, RegisterSet before, CancellationToken cancellationToken)
    {
        for (var attempt = 0; attempt < MaximumTraps; attempt++)
        {
            if (!await RunToAsync([flow.Address], FrameMark.Of(before), cancellationToken))
            {
                return false;
            }

            ulong[] next = flow.Kind switch
            {
                FlowKind.Sequential or FlowKind.Repeat => [flow.Next],
                FlowKind.Jump or FlowKind.Call => [flow.Target],
                FlowKind.ConditionalJump => [flow.Next, flow.Target],
                _ => [],
            };
            if (next.Length > 0)
            {
                return await RunToAsync(next, SameActivationOrCall(before), cancellationToken);
            }

            if (!await ExecuteAsync(cancellationToken))
            {
                return false;
            }

            if (!IsTrap(in flow))
            {
                return true;
            }
        }

        return true;
    }

    private static Func<int, RegisterSet, bool> SameActivationOrCall(RegisterSet before) => (_, registers) =>
        FrameMark.IsInUserMode(registers) == FrameMark.IsInUserMode(before)
        && registers.StackPointer + Near >= before.StackPointer && registers.StackPointer <= before.StackPointer + PageSize;

    /// <summary>QEMU with TCG masks interrupts and timers in a step. With KVM, and with other stubs, it may not (`qqemu.sstepbits` says so).</summary>
    private async ValueTask<bool> AsksForMaskAsync(CancellationToken cancellationToken)
    {
        try
        {
            var (_, inForce) = await _control.Machine.Client.ReadStepMaskAsync(cancellationToken);
            return inForce.HasFlag(StepMask.NoInterrupts | StepMask.NoTimers);
        }
        catch (RspException e) when (e.Kind is RspErrorKind.Unsupported or RspErrorKind.ErrorReply)
        {
            return false;
        }
    }

    /// <summary>Runs to where the exception's handler goes on: the instruction again, behind it (int3, the ud2 of WARN), or at its fixup.</summary>
    private ValueTask<bool> PassTrapAsync(InstructionFlow flow, RegisterSet before, StepCode? code, CancellationToken cancellationToken)
    {
        List<ulong> addresses = [flow.Address];
        foreach (var address in (ReadOnlySpan<ulong>)[flow.Next, flow.Target, code?.FixupOf(flow.Address) ?? 0])
        {
            if (address != 0 && !addresses.Contains(address))
            {
                addresses.Add(address);
            }
        }

        return RunToAsync(addresses, FrameMark.Of(before), cancellationToken);
    }

    private async ValueTask<Hop> ArriveAsync(InstructionFlow flow, RegisterSet before, StepCode? code, CancellationToken cancellationToken)
    {
        var isReturn = flow.Kind == FlowKind.Return;
        if (flow.Kind is not (FlowKind.Sequential or FlowKind.Repeat or FlowKind.Return))
        {
            // Which thunk comes first decides: __x86_indirect_thunk_REG may end in a return thunk.
            isReturn = !flow.IsCall && Code?.IsReturnThunk(Pc) == true;
            for (var i = 0; i < MaximumThunk && Code?.IsThunk(Pc) == true; i++)
            {
                if (!await ExecuteAsync(cancellationToken))
                {
                    return new Hop(HopKind.Interrupted);
                }
            }
        }

        if (flow.IsCall || flow.Kind == FlowKind.SystemCall)
        {
            // A static call to nothing is a return.
            return Pc == flow.Next ? new Hop(HopKind.Moved) : new Hop(HopKind.Called, flow.Next, FrameMark.Of(before));
        }

        if (FrameMark.IsInUserMode(before) != IsInUserMode)
        {
            return new Hop(HopKind.ChangedMode);
        }

        if (isReturn || flow.Kind == FlowKind.InterruptReturn)
        {
            return new Hop(HopKind.Returned);
        }

        return new Hop(flow.Kind is FlowKind.Jump or FlowKind.ConditionalJump or FlowKind.IndirectJump && Code is { } now && code is not null
            && !now.IsSameFunction(flow.Address, Pc) && now.IsEntry(Pc) && !(now.IsAssembly(flow.Address) && now.IsAssembly(Pc))
            ? HopKind.Left
            : HopKind.Moved);
    }
}
