using System.Collections.Immutable;
using KTrace.Debugger.Memory;
using KTrace.Debugger.NonStop.Conditions;
using KTrace.Debugger.NonStop.Guest;
using KTrace.Debugger.NonStop.Trampolines;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Lookup;
using KTrace.Symbols.Values.Expressions;
using KTrace.Tests.Debugger.NonStop.Trampolines;
using KTrace.Tests.Support;

namespace KTrace.Tests.Debugger.NonStop.Conditions;

/// <summary>What conditions become, without a guest.</summary>
public sealed class ConditionBytesTests
{
    private static readonly Lazy<KernelImage> Image = new(() => KernelImage.Open(StockKernel.Vmlinux));
    private static readonly NonStopLayout Layout64 = new(0x1000_0000, 0xffff_ffff_fc00_0000, 2 << 20, 16 << 20);
    private static readonly NonStopLayout Layout32 = new(0x1000_0000, 0xfb00_0000, 4 << 20, 8 << 20);
    private static readonly ImmutableArray<RamRange> Ram = [new RamRange(0, 0xa0000, 0), new RamRange(0x100000, 0xc000_0000, 0x100000), new RamRange(0x1_0000_0000, 0x1_4000_0000, 0xc000_0000)];

    /// <summary>Every kind of step.</summary>
    private static readonly ImmutableArray<ConditionStep> AllSteps =
    [
        new ConditionStep.EntryRegister(0), new ConditionStep.EntryRegister(4), new ConditionStep.Operate(ConditionOperation.Subtract), new ConditionStep.Require(IsPointer: true),
        new ConditionStep.Load(8, 4, IsSigned: true, IsOwnTask: false), new ConditionStep.Load(0, 3, IsSigned: false, IsOwnTask: false), new ConditionStep.Field(5, 17, IsSigned: true), new ConditionStep.SkipIf(Truth: true, 31),
        new ConditionStep.CurrentTask(), new ConditionStep.Require(IsPointer: true), new ConditionStep.Load(64, 4, IsSigned: false, IsOwnTask: true), new ConditionStep.CpuNumber(), new ConditionStep.RequireLess(31),
        new ConditionStep.Operate(ConditionOperation.ShiftLeft), new ConditionStep.Constant(0xc100_0000, IsKernelAddress: true), new ConditionStep.TextEquals(4, "init\0", IsPointer: true, IsOwnTask: false),
        new ConditionStep.JumpIfZero(20), new ConditionStep.Constant(7), new ConditionStep.Operate(ConditionOperation.Negate), new ConditionStep.Jump(22), new ConditionStep.EntryRegister(2),
        new ConditionStep.Require(IsPointer: false), new ConditionStep.Operate(ConditionOperation.DivideSigned), new ConditionStep.EntryRegister(7), new ConditionStep.Operate(ConditionOperation.Remainder),
        new ConditionStep.CurrentTask(), new ConditionStep.TextEquals(900, "ip\0", IsPointer: false, IsOwnTask: true), new ConditionStep.Operate(ConditionOperation.GreaterOrEqualSigned), new ConditionStep.Operate(ConditionOperation.SwapBytes32),
        new ConditionStep.Operate(ConditionOperation.Complement), new ConditionStep.Operate(ConditionOperation.IsNotZero), new ConditionStep.Operate(ConditionOperation.IsZero),
    ];

    [Theory]
    [InlineData(PagingKind.FourLevels)]
    [InlineData(PagingKind.FiveLevels)]
    [InlineData(PagingKind.Pae)]
    [InlineData(PagingKind.TwoLevels)]
    public void Every_step_is_written_with_allowed_instructions_and_every_path_leaves_the_stack_as_it_was(PagingKind paging)
    {
        var is64Bit = paging is PagingKind.FourLevels or PagingKind.FiveLevels;
        var view = is64Bit ? new GuestView(paging, 0xffff_ff80_4000_0000, 33, Ram, null, 0x1200_0000) : new GuestView(paging, 0xc000_0000, 32, Ram[..2], 0xc182_0000, 0);
        var program = new TrampolineProgram(3, 4096) { Sample = 10, First = 100, Condition = new CompiledCondition("all", AllSteps) };
        var block = EntryTrampoline.Assemble(
            is64Bit ? TrampolineCheckTests.Kernel64 : TrampolineCheckTests.Kernel32, is64Bit ? Layout64 : Layout32, program, false, is64Bit ? Layout64.Code : Layout32.Code, null, view);
        Assert.Empty(TrampolineCheck.Complaints(block, is64Bit ? X86_64.Instance : I386.Instance, 0));

        // The frame that an interrupt may come upon is never larger than what is promised.
        Assert.True(block.Frames.Max(f => f.FrameDistance) <= EntryTrampoline.StackUse);
    }

    [Fact]
    public void Without_a_condition_the_code_is_what_it_was()
    {
        var view = new GuestView(PagingKind.FourLevels, 0xffff_ff80_4000_0000, 33, Ram, null, 0);
        var program = new TrampolineProgram(3, 4096);
        Assert.Equal(
            EntryTrampoline.Assemble(TrampolineCheckTests.Kernel64, Layout64, program, false, Layout64.Code).Bytes.AsEnumerable(),
            EntryTrampoline.Assemble(TrampolineCheckTests.Kernel64, Layout64, program, false, Layout64.Code, null, view).Bytes.AsEnumerable());
    }

    [Fact]
    public void Steps_that_read_memory_need_a_view_and_steps_that_lead_back_are_refused()
    {
        Assert.Throws<ArgumentException>(() => Assemble(new ConditionStep.EntryRegister(0), new ConditionStep.Load(0, 8, false, false)));
        Assert.Throws<ArgumentException>(() => Assemble(new ConditionStep.EntryRegister(0), new ConditionStep.SkipIf(true, 0)));
        Assert.Throws<ArgumentException>(() => Assemble(new ConditionStep.EntryRegister(0), new ConditionStep.EntryRegister(0)));
        Assert.Throws<ArgumentException>(() => Assemble([.. Enumerable.Repeat(new ConditionStep.EntryRegister(0), 9)]));
        Assemble(new ConditionStep.EntryRegister(0));

        static void Assemble(params ConditionStep[] steps) => EntryTrampoline.Assemble(
            TrampolineCheckTests.Kernel64, Layout64, new TrampolineProgram(0, 4096) { Condition = new CompiledCondition("", [.. steps]) }, false, Layout64.Code);
    }

    [Theory]
    [InlineData("desc->irq_data.irq == 3", "desc is a variable inside the function: at its entry it has no value")]
    [InlineData("irk == 3", "there is no irk here")]
    [InlineData("devname =~ \"eth*\"", "text is matched with a pattern")]
    [InlineData("devname == \"a name that is longer than thirty-one characters\"", "it compares text of more than 31 characters, or with NUL in it")]
    [InlineData("$ret == 0", "$ret is known only where the function has returned")]
    [InlineData("$cr2 == 0", "the register $cr2 is not known at an entry")]
    [InlineData("per_cpu(current_task, 1) == current", "it asks for a variable of another CPU")]
    [InlineData("*current->thread.fpu.fpstate == 0", "*current->thread.fpu.fpstate is a struct fpstate, not a number")]
    [InlineData("1 << 40", "a shift by 40 of 32 bits")]
    [InlineData("irq == 7 / 0", "division by zero: 0 is 0")]
    [InlineData("*dev_id == 0", "dev_id may point to anything: cast it, as in *(unsigned long *)dev_id")]
    [InlineData("current->parent->parent->parent->parent->parent->parent->parent->parent->parent->parent->pid == 0", "it reads memory at more than 8 places")]
    [InlineData("irq - (1 - (irq - (1 - (irq - (1 - (irq - (1 - irq)))))))", "it has too many parentheses within each other")]
    [InlineData("\"eth0\"", "a text is compared with == and !=, and with nothing else")]
    public void What_only_a_stop_can_answer_is_refused_with_the_reason(string condition, string whyNot)
    {
        Assert.Equal((null, whyNot), Compile("request_threaded_irq", condition));
    }

    /// <summary>Functions share a program where the same steps answer for them.</summary>
    [Fact]
    public void The_same_parameter_at_the_same_place_gives_the_same_steps()
    {
        var one = Compile("enable_irq", "irq == 24").Compiled!;
        Assert.Equal(one.Steps.AsEnumerable(), Compile("disable_irq", "irq == 24").Compiled!.Steps.AsEnumerable());
        Assert.NotEqual(one.Steps.AsEnumerable(), Compile("enable_irq", "irq == 25").Compiled!.Steps.AsEnumerable());
        Assert.Equal(3, one.Steps.Length - 1);
    }

    private static (CompiledCondition? Compiled, string? WhyNot) Compile(string function, string condition)
    {
        var symbol = TracedGuest.Symbol(Image.Value, function);
        return new ConditionCompiler(Image.Value).Compile(new CodePlace(symbol.Value, CodePlaceKind.Entry, function, function, null), null, Expression.Parse(condition));
    }
}
