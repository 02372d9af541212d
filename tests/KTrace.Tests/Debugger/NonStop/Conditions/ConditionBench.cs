using KTrace.Debugger.Memory;
using KTrace.Debugger.NonStop.Conditions;
using KTrace.Debugger.NonStop.Ring;
using KTrace.Debugger.NonStop.Trampolines;
using KTrace.Debugger.Recording;
using KTrace.Debugger.Values;
using KTrace.Rsp;
using KTrace.Rsp.Commands;
using KTrace.Symbols.Lookup;
using KTrace.Symbols.Types;
using KTrace.Symbols.Unwind;
using KTrace.Symbols.Values;
using KTrace.Symbols.Values.Expressions;
using KTrace.Tests.Debugger.NonStop.Trampolines;

namespace KTrace.Tests.Debugger.NonStop.Conditions;

/// <summary>What a condition says of a call.</summary>
internal enum Answer
{
    No,
    Yes,

    /// <summary>It cannot be asked.</summary>
    Unknown,
}

/// <summary>
/// A real guest that stands at a function's entry. Conditions are asked there in two ways: by the evaluator that stopping tracepoints use, and by the code that trampolines run, on the guest's CPU in the guest's memory.
/// </summary>
internal sealed class ConditionBench
{
    private readonly TracedGuest _guest;
    private readonly GuestView _view;
    private readonly ConditionCompiler _compiler;
    private readonly HitCapture _capture;
    private readonly StopScope _scope;
    private readonly HitValues _values;
    private readonly RegisterBlock _block;
    private readonly string[] _names;
    private readonly CodePlace _place;
    private readonly ulong _entry;
    private RegisterSet _registers;
    private int _cpu;
    private int _programs;

    private ConditionBench(TracedGuest guest, GuestView view, string function)
    {
        (_guest, _view, _entry) = (guest, view, guest.AddressOf(function));
        _compiler = new ConditionCompiler(guest.Map.Image);
        _place = new CodePlace(TracedGuest.Symbol(guest.Map.Image, function).Value, CodePlaceKind.Entry, function, function, null);
        _capture = new HitCapture(guest.Client, guest.Map, guest.Target.Memory.Ram);
        var variables = new FrameVariables(guest.Map);
        _scope = new StopScope(guest.Map, new RememberedTypes(new KernelTypes(guest.Map)), _capture.Memory, variables, _capture.Tasks);
        _values = new HitValues(_capture.Memory, _scope, variables);
        _block = new RegisterBlock(guest.Client.Layout);
        _names = guest.Offsets.Is64Bit ? ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "eflags"] : ["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi", "eflags"];
        _registers = new RegisterSet(guest.Map.Image.Architecture);
    }

    public ulong StackPointer { get; private set; }

    public PagingKind Paging => _view.Paging;

    /// <summary>Bytes of all code so far.</summary>
    public int CodeSize => _guest.Memory.Layout.CodeSize - _guest.Memory.CodeLeft;

    /// <summary>Registers with which the function was entered.</summary>
    public IReadOnlyList<(string Register, ulong Value)> Found { get; private set; } = [];

    /// <summary>Lets the guest run to the next call of a function.</summary>
    public static async Task<ConditionBench> AtAsync(TracedGuest guest, string function)
    {
        var view = await RamView.TryMapAsync(guest.Target, guest.Memory.Layout, CancellationToken.None);
        var bench = new ConditionBench(guest, Assert.IsType<GuestView>(view), function);
        await guest.Client.SendAsync(new InsertBreakpoint(BreakpointKind.Software, bench._entry));
        await guest.Client.ContinueAsync();
        var stop = await WaitAsync(guest) as StopReply.Stopped ?? throw new InvalidOperationException("the guest ended: " + guest.Console[^Math.Min(guest.Console.Length, 2000)..]);
        (bench._registers, bench._cpu) = await bench._capture.BeginAsync(stop, CancellationToken.None);
        bench._registers = bench._registers.Clone();
        Assert.Equal(bench._entry, bench._registers.ProgramCounter);
        await guest.Client.SendAsync(new RemoveBreakpoint(BreakpointKind.Software, bench._entry));
        await guest.Client.SendAsync(new InsertBreakpoint(BreakpointKind.Software, bench.Back));
        await guest.Client.SendAsync(new ReadRegisters(bench._block));
        bench.StackPointer = bench._registers.StackPointer;
        bench.Found = [.. new[] { "rdi", "rdx", "rcx", "r9", "rsi", "r15" }.Where(_ => guest.Offsets.Is64Bit).Select(n => (n, bench.Value(n)))];
        return bench;
    }

    // Where the trampoline returns to: not executed, as the breakpoint stands there.
    private ulong Back => _entry + 5;

    /// <summary>The function is entered with this in a register from now on.</summary>
    public async Task SetAsync(string register, ulong value)
    {
        _registers[_registers.Architecture.IndexOf(register)] = value;
        await WriteAsync(register, value);
    }

    public string? WhyNot(string condition) => _compiler.Compile(_place, null, Expression.Parse(condition)).WhyNot;

    /// <summary>Asks as a stopping tracepoint does. The guest has not run since the bench was made.</summary>
    public async Task<Answer> EvaluateAsync(string condition)
    {
        _scope.Enter(new UnwindResult([new UnwoundFrame(_registers, UnwindRule.Registers, false)], new UnwindStop.EndOfStack()), _registers, _cpu);
        var (holds, failure) = await _values.HoldsAsync(Expression.Parse(condition), CancellationToken.None);
        return failure is not null ? Answer.Unknown : holds ? Answer.Yes : Answer.No;
    }

    /// <summary>Puts a condition's code into the guest.</summary>
    /// <returns>The code's address and program; null with the reason when it cannot be compiled.</returns>
    public ((ulong Code, int Program)? Made, string? WhyNot) Compile(string condition)
    {
        var (compiled, whyNot) = _compiler.Compile(_place, null, Expression.Parse(condition));
        if (compiled is null)
        {
            return (null, whyNot);
        }

        var program = new TrampolineProgram(_programs++, 256) { Condition = compiled, First = 0 };
        return ((_guest.Place(program, view: _view), program.Index), null);
    }

    /// <summary>Has the guest's CPU run the code as if the function were called; no register may be another afterwards.</summary>
    public async Task<Answer> RunAsync((ulong Code, int Program) made)
    {
        var client = _guest.Client;
        var before = (Taken: Counter(made.Program, ControlBlock.ProgramTaken), Unreadable: Counter(made.Program, ControlBlock.ProgramUnreadable));
        var word = _guest.Offsets.WordSize;
        var pushed = StackPointer - (ulong)word;
        await client.SendAsync(new WriteMemory(pushed, BitConverter.GetBytes(Back)[..word]));
        await WriteAsync(_names[4], pushed);
        await WriteAsync(word == 8 ? "rip" : "eip", made.Code);
        var expected = Values();
        await client.ContinueAsync();
        Assert.IsType<StopReply.Stopped>(await WaitAsync(_guest));
        await client.SendAsync(new ReadRegisters(_block));
        expected[4] += (ulong)word;
        Assert.Equal(expected, Values());
        Assert.Equal(Back, Value(word == 8 ? "rip" : "eip"));
        var (taken, unreadable) = (Counter(made.Program, ControlBlock.ProgramTaken) - before.Taken, Counter(made.Program, ControlBlock.ProgramUnreadable) - before.Unreadable);
        Assert.InRange(taken + unreadable, 0UL, 1UL);
        return taken == 1 ? Answer.Yes : unreadable == 1 ? Answer.Unknown : Answer.No;
    }

    private ulong[] Values() => [.. _names.Select(n => n == "eflags" ? Value(n) & ~(1UL << 16) : Value(n))];

    private ulong Value(string name)
    {
        Assert.True(_guest.Client.Layout.TryFind(name, out var register) && _block.TryGetValue(register, out _));
        _block.TryGetValue(register, out var value);
        return value;
    }

    private ulong Counter(int program, int counter) => _guest.Memory.Counter(ControlBlock.Programs + (program * ControlBlock.ProgramStride) + counter);

    private async Task WriteAsync(string name, ulong value)
    {
        Assert.True(_guest.Client.Layout.TryFind(name, out var register));
        _block.SetValue(register, value);
        await _guest.Client.SendAsync(new WriteRegister(register, _block));
    }

    private static async Task<StopReply> WaitAsync(TracedGuest guest)
    {
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        try
        {
            return await guest.Client.WaitForStopAsync(patience.Token);
        }
        catch (OperationCanceledException)
        {
            throw new TimeoutException("no stop; the guest said: " + guest.Console[^Math.Min(guest.Console.Length, 2000)..]);
        }
    }
}
