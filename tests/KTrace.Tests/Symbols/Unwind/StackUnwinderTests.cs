using KTrace.Symbols.Arch;
using KTrace.Symbols.Unwind;

namespace KTrace.Tests.Symbols.Unwind;

public class StackUnwinderTests
{
    private readonly FakeUnwind _kernel = new(X86_64.Instance);

    [Fact]
    public void Rows_are_looked_up_at_the_pc_of_the_innermost_frame_and_one_below_return_addresses()
    {
        var inner = _kernel.Function("inner", _kernel.CallBySp(8));
        var outer = _kernel.Function("secondary_startup_64");
        _kernel.Words(0x8000, outer + 0x40);

        var result = Unwind(inner, 0x8000);

        Assert.Equal([inner, outer + 0x3f], _kernel.Asked);
        Assert.Equal([inner, outer + 0x40], result.Frames.Select(f => f.ProgramCounter));
        Assert.Equal([false, true], result.Frames.Select(f => f.IsCall));
        Assert.Equal(0x8008ul, result.Frames[1].Registers.StackPointer);
        Assert.IsType<UnwindStop.BootEntry>(result.Stop);
    }

    [Fact]
    public void A_noreturn_call_at_the_very_end_belongs_to_its_own_function()
    {
        var inner = _kernel.Function("panic", _kernel.CallBySp(8));
        var last = _kernel.Function("ret_from_fork");
        _kernel.Words(0x8000, last + 0x100); // behind the last byte of all text

        var result = Unwind(inner, 0x8000);

        Assert.Equal(2, result.Frames.Length);
        Assert.IsType<UnwindStop.KernelThreadStart>(result.Stop);
    }

    [Fact]
    public void A_return_address_that_is_no_text_ends_the_walk_without_a_frame()
    {
        var inner = _kernel.Function("inner", _kernel.CallBySp(8));
        _kernel.Words(0x8000, 0xffff888001234560);

        var result = Unwind(inner, 0x8000);

        Assert.Single(result.Frames);
        Assert.Contains("0xffff888001234560", Assert.IsType<UnwindStop.Corrupt>(result.Stop).What);
    }

    [Fact]
    public void The_second_row_is_tried_when_the_first_leads_nowhere()
    {
        var inner = _kernel.Function("inner", _kernel.CallBySp(8), _kernel.CallBySp(16) with { Rule = UnwindRule.Orc });
        var outer = _kernel.Function("ret_from_fork");
        _kernel.Words(0x8000, 0x1234, outer + 8);

        var result = Unwind(inner, 0x8000);

        Assert.Equal(UnwindRule.Orc, result.Frames[1].Rule);
        Assert.Equal(outer + 8, result.Frames[1].ProgramCounter);
    }

    [Fact]
    public void Memory_that_was_not_fetched_is_asked_for_and_no_other_row_is_tried()
    {
        var inner = _kernel.Function("inner", _kernel.CallBySp(8), _kernel.CallBySp(16));
        var outer = _kernel.Function("ret_from_fork");
        _kernel.Words(0x8008, outer + 8);

        var result = Unwind(inner, 0x8000);

        Assert.Single(result.Frames);
        Assert.Equal(new UnwindStop.MemoryMissing(0x8000, 8), result.Stop);
    }

    [Fact]
    public void Memory_that_does_not_exist_is_named()
    {
        var inner = _kernel.Function("inner", _kernel.CallBySp(8));
        _kernel.Unreadable.Add(0x8000);

        Assert.Equal(new UnwindStop.BadMemory(0x8000), Unwind(inner, 0x8000).Stop);
    }

    [Fact]
    public void Code_without_a_row_ends_the_walk()
    {
        var inner = _kernel.Function("mystery");

        _kernel.Words(0x8000, new ulong[16]);
        Assert.Equal(new UnwindStop.NoUnwindRow(inner + 4), Unwind(inner + 4, 0x8000).Stop);
    }

    [Fact]
    public void A_row_that_ends_the_stack_elsewhere_says_so()
    {
        var inner = _kernel.Function("some_entry", UnwindRow.End(UnwindRule.Orc));

        Assert.IsType<UnwindStop.EndOfStack>(Unwind(inner, 0x8000).Stop);
    }

    [Fact]
    public void The_limit_on_frames_holds()
    {
        var inner = _kernel.Function("recursion", _kernel.CallBySp(8));
        _kernel.Words(0x8000, [.. Enumerable.Repeat(inner + 0x10, 400)]);

        var result = Unwind(inner, 0x8000);

        Assert.Equal(StackUnwinder.DefaultLimit, result.Frames.Length);
        Assert.Equal(new UnwindStop.TooDeep(256), result.Stop);
        Assert.Equal(10, StackUnwinder.Unwind(_kernel.At(inner, 0x8000), _kernel, _kernel, 10).Frames.Length);
    }

    [Fact]
    public void A_stack_that_leads_back_to_itself_is_corrupt()
    {
        var there = new UnwindRow(UnwindRule.Orc, FrameShape.Call, new CfaRule(CfaKind.Dereferenced, X86_64.Rsp, 0, 8),
            [new SavedRegister(X86_64.Rip, new RegisterRule(RegisterRuleKind.AtCfa, -8))]);
        var a = _kernel.Function("a", there);
        _kernel.Words(0x8000, 0x9000);
        _kernel.Words(0x9000, a + 0x10, 0x9000);

        var result = Unwind(a, 0x8000);

        Assert.True(result.Frames.Length < 10);
        Assert.Contains("leads back", Assert.IsType<UnwindStop.Corrupt>(result.Stop).What);
    }

    [Fact]
    public void A_frame_that_does_not_lie_above_the_stack_pointer_is_corrupt()
    {
        var inner = _kernel.Function("inner", FakeUnwind.Call(X86_64.Rbp, 16, new SavedRegister(X86_64.Rip, new RegisterRule(RegisterRuleKind.AtCfa, -8))));
        _kernel.Words(0x7000, inner + 8, inner + 8);
        var registers = _kernel.At(inner, 0x7800);
        registers[X86_64.Rbp] = 0x6ff8;

        Assert.Contains("not above", Assert.IsType<UnwindStop.Corrupt>(StackUnwinder.Unwind(registers, _kernel, _kernel).Stop).What);
    }

    [Fact]
    public void A_frame_pointer_may_lead_to_another_stack_below()
    {
        var inner = _kernel.Function("call_on_stack", FakeUnwind.Call(X86_64.Rbp, 16, new SavedRegister(X86_64.Rip, new RegisterRule(RegisterRuleKind.AtCfa, -8))));
        var outer = _kernel.Function("ret_from_fork");
        _kernel.Words(0x4008, outer + 8);
        var registers = _kernel.At(inner, 0x8000);
        registers[X86_64.Rbp] = 0x4000;

        Assert.IsType<UnwindStop.KernelThreadStart>(StackUnwinder.Unwind(registers, _kernel, _kernel).Stop);
    }

    [Fact]
    public void A_row_over_a_register_that_is_not_known_is_corrupt_and_names_it()
    {
        var inner = _kernel.Function("inner", FakeUnwind.Call(X86_64.R10, 0));

        Assert.Contains("r10", Assert.IsType<UnwindStop.Corrupt>(Unwind(inner, 0x8000).Stop).What);
    }

    [Fact]
    public void Registers_follow_their_rules_and_the_abi()
    {
        var inner = _kernel.Function("inner", FakeUnwind.Call(
            X86_64.Rsp,
            0x20,
            new SavedRegister(X86_64.Rip, new RegisterRule(RegisterRuleKind.AtCfa, -8)),
            new SavedRegister(X86_64.Rbx, new RegisterRule(RegisterRuleKind.AtCfa, -16)),
            new SavedRegister(X86_64.R12, new RegisterRule(RegisterRuleKind.CfaPlus, 4)),
            new SavedRegister(X86_64.R13, new RegisterRule(RegisterRuleKind.InRegister, X86_64.Rax)),
            new SavedRegister(X86_64.R14, new RegisterRule(RegisterRuleKind.Undefined))));
        var outer = _kernel.Function("ret_from_fork");
        _kernel.Words(0x8000, 0, 0, 0xb, outer + 4);
        var registers = _kernel.At(inner, 0x8000);
        registers[X86_64.Rax] = 0xa;
        registers[X86_64.R14] = 0xe;
        registers[X86_64.R15] = 0xf;
        registers[X86_64.Cr3] = 0xc3;
        registers[X86_64.Eflags] = 2;

        var caller = StackUnwinder.Unwind(registers, _kernel, _kernel).Frames[1].Registers;

        Assert.Equal(0xbul, caller[X86_64.Rbx]);
        Assert.Equal(0x8024ul, caller[X86_64.R12]);
        Assert.Equal(0xaul, caller[X86_64.R13]);
        Assert.Equal(0xful, caller[X86_64.R15]);
        Assert.Equal(0xc3ul, caller[X86_64.Cr3]);
        Assert.False(caller.IsKnown(X86_64.R14));
        Assert.False(caller.IsKnown(X86_64.Rax));
        Assert.False(caller.IsKnown(X86_64.Rbp));
        Assert.False(caller.IsKnown(X86_64.Eflags));
    }

    [Theory]
    [InlineData("entry_SYSCALL_64_after_hwframe", "do_syscall_64", 0x33, 16L, false)]
    [InlineData("entry_SYSENTER_compat_after_hwframe", "do_SYSENTER_32", 0x23, 16L, true)]
    [InlineData("entry_INT80_compat", "do_int80_syscall_32", 0x33, 16L, true)] // int $0x80 from 64-bit code
    [InlineData("asm_int80_emulation", "int80_emulation", 0x23, 16L, true)]
    [InlineData("asm_exc_page_fault", "exc_page_fault", 0x33, null, false)]
    [InlineData("asm_sysvec_apic_timer_interrupt", "sysvec_apic_timer_interrupt", 0x23, null, true)]
    public void User_space_is_the_end_and_tells_what_it_asked_for(string entry, string callee, int cs, long? number, bool isCompat)
    {
        var inner = _kernel.Function(callee, _kernel.CallBySp(8));
        var start = _kernel.Function(entry, new UnwindRow(UnwindRule.Orc, FrameShape.SavedRegisters, new CfaRule(CfaKind.Register, X86_64.Rsp, 0), [], true, false));
        _kernel.Words(0x8000, start + 0x20);
        PtRegs(0x8008, 0x401000, (ulong)cs, 0x7ffd0000, 16);

        var result = Unwind(inner, 0x8000);

        Assert.Equal(2, result.Frames.Length);
        var user = Assert.IsType<UnwindStop.UserSpace>(result.Stop);
        Assert.Equal((number, isCompat), (user.SystemCallNumber, user.IsCompat));
        Assert.Equal((0x401000ul, 0x7ffd0000ul), (user.Registers.ProgramCounter, user.Registers.StackPointer));
        Assert.Equal(14ul, user.Registers[X86_64.Rdi]);
        Assert.Equal(7ul, user.Registers[X86_64.R10]);
        Assert.Equal((ulong)cs, user.Registers[X86_64.Cs]);
    }

    [Fact]
    public void An_interrupted_kernel_function_goes_on_with_its_saved_registers_at_its_own_pc()
    {
        var entry = _kernel.Function("asm_common_interrupt", new UnwindRow(UnwindRule.Orc, FrameShape.SavedRegisters, new CfaRule(CfaKind.Register, X86_64.Rsp, 8), [], true, false));
        var worker = _kernel.Function("worker", FakeUnwind.Call(X86_64.Rbx, 0, new SavedRegister(X86_64.Rip, new RegisterRule(RegisterRuleKind.AtCfa, -8))));
        var start = _kernel.Function("ret_from_fork");
        PtRegs(0x8008, worker, 0x10, 0xa000, ulong.MaxValue, rbx: 0xa010);
        _kernel.Words(0xa008, start + 0x22);

        var result = Unwind(entry + 0x20, 0x8000);

        Assert.Equal([UnwindRule.Registers, UnwindRule.SavedRegisters, UnwindRule.Cfi], result.Frames.Select(f => f.Rule));
        Assert.Equal(worker, result.Frames[1].LookupAddress);
        Assert.IsType<UnwindStop.KernelThreadStart>(result.Stop);
    }

    [Fact]
    public void Saved_registers_that_cannot_be_some_are_corrupt()
    {
        var entry = _kernel.Function("strange_entry", new UnwindRow(UnwindRule.Orc, FrameShape.SavedRegisters, new CfaRule(CfaKind.Register, X86_64.Rsp, 0), [], true, false));

        PtRegs(0x8000, entry, 0x10, 0xa000, 0, flags: 0x246 | (1UL << 40));
        Assert.Contains("impossible flags", Assert.IsType<UnwindStop.Corrupt>(Unwind(entry, 0x8000).Stop).What);
        PtRegs(0x8000, 0x123456, 0x10, 0xa000, 0);
        Assert.Contains("0x123456", Assert.IsType<UnwindStop.Corrupt>(Unwind(entry, 0x8000).Stop).What);
        PtRegs(0x8000, 0xffffffff81000000, 0x33, 0xa000, 0);
        Assert.Contains("no user address", Assert.IsType<UnwindStop.Corrupt>(Unwind(entry, 0x8000).Stop).What);
    }

    [Fact]
    public void An_interrupt_frame_alone_gives_pc_and_sp_and_no_more_than_is_sure()
    {
        var entry = _kernel.Function("asm_exc_page_fault", new UnwindRow(UnwindRule.Orc, FrameShape.InterruptFrame, new CfaRule(CfaKind.Register, X86_64.Rsp, 8), [], true, false));
        _kernel.Words(0x8008, 0x401000, 0x33, 0x246, 0x7ffd0000, 0x2b);
        var registers = _kernel.At(entry, 0x8000);
        registers[X86_64.Rax] = 1;
        registers[X86_64.R15] = 15;

        var user = Assert.IsType<UnwindStop.UserSpace>(StackUnwinder.Unwind(registers, _kernel, _kernel).Stop);

        Assert.Equal((0x401000ul, 0x7ffd0000ul), (user.Registers.ProgramCounter, user.Registers.StackPointer));
        Assert.Null(user.SystemCallNumber);
        Assert.Equal(15ul, user.Registers[X86_64.R15]);
        Assert.False(user.Registers.IsKnown(X86_64.Rax));
    }

    [Fact]
    public void A_cpu_that_was_stopped_in_user_mode_has_no_kernel_frames()
    {
        var registers = _kernel.At(0x401000, 0x7ffd0000);
        registers[X86_64.Cs] = 0x33;

        var result = StackUnwinder.Unwind(registers, _kernel, _kernel);

        Assert.Empty(result.Frames);
        Assert.Equal(0x401000ul, Assert.IsType<UnwindStop.UserSpace>(result.Stop).Registers.ProgramCounter);
    }

    [Fact]
    public void A_call_through_a_null_pointer_leads_to_its_caller()
    {
        var caller = _kernel.Function("ret_from_fork");
        _kernel.Words(0x8000, caller + 8);

        var result = Unwind(0, 0x8000);

        Assert.Equal([0ul, caller + 8], result.Frames.Select(f => f.ProgramCounter));
    }

    [Fact]
    public void A_retpolines_target_is_not_taken_for_its_caller()
    {
        var thunk = _kernel.Function("__x86_return_thunk", _kernel.CallBySp(8) with { Rule = UnwindRule.Orc });
        var target = _kernel.Function("target");
        var caller = _kernel.Function("ret_from_fork");
        _kernel.Words(0x8000, target, caller + 8);
        _kernel.Words(0x9000, caller + 8);

        Assert.Equal([thunk, caller + 8], Unwind(thunk, 0x8000).Frames.Select(f => f.ProgramCounter));
        Assert.Equal([thunk, caller + 8], Unwind(thunk, 0x9000).Frames.Select(f => f.ProgramCounter));
    }

    [Fact]
    public void A_guessed_return_address_is_no_functions_first_byte()
    {
        var inner = _kernel.Function("inner", _kernel.CallBySp(8) with { Rule = UnwindRule.FramePointer });
        var handler = _kernel.Function("exc_page_fault");
        _kernel.Words(0x8000, handler);

        Assert.Contains("first byte", Assert.IsType<UnwindStop.Corrupt>(Unwind(inner, 0x8000).Stop).What);
    }

    [Theory]
    [InlineData("schedule_tail", 56, true)] // a task that clone() just made
    [InlineData("kthread", 0, false)]
    public void Only_a_new_user_tasks_first_call_has_user_registers_above_it(string callee, long number, bool isUser)
    {
        var inner = _kernel.Function(callee, _kernel.CallBySp(8));
        var start = _kernel.Function("ret_from_fork", UnwindRow.End(UnwindRule.Orc));
        _kernel.Words(0x8000, start + 8);
        PtRegs(0x8008, 0x401000, 0x33, 0x7ffd0000, (ulong)number);

        var stop = Unwind(inner, 0x8000).Stop;

        Assert.Equal(isUser, stop is UnwindStop.UserSpace { SystemCallNumber: 56 });
        Assert.Equal(!isUser, stop is UnwindStop.KernelThreadStart);
    }

    private UnwindResult Unwind(ulong pc, ulong sp) => StackUnwinder.Unwind(_kernel.At(pc, sp), _kernel, _kernel);

    private void PtRegs(ulong at, ulong ip, ulong cs, ulong sp, ulong number, ulong rbx = 5, ulong flags = 0x246) =>
        _kernel.Words(at, 0, 1, 2, 3, 4, rbx, 6, 7, 8, 9, 10, 11, 12, 13, 14, number, ip, cs, flags, sp, cs == 0x10 ? 0x18ul : 0x2b);
}
