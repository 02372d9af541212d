using KTrace.Symbols.Arch;
using KTrace.Symbols.Unwind;

namespace KTrace.Tests.Symbols.Unwind;

/// <summary>i386 has no ORC and no CFI in its entry code: pt_regs stands where sp is when the C function that entry code called has returned.</summary>
public class I386UnwinderTests
{
    private readonly FakeUnwind _kernel = new(I386.Instance);

    [Theory]
    [InlineData("entry_INT80_32", "do_int80_syscall_32")]
    [InlineData("entry_SYSENTER_32", "do_SYSENTER_32")]
    public void A_system_call_ends_in_user_space(string entry, string callee)
    {
        var inner = _kernel.Function(callee, _kernel.CallBySp(4));
        var start = _kernel.Function(entry);
        _kernel.Words(0x8000, start + 0x20);
        PtRegs(0x8004, 0x8048000, 0x73, 54, 0xbffff000);

        var result = StackUnwinder.Unwind(_kernel.At(inner, 0x8000), _kernel, _kernel);

        var user = Assert.IsType<UnwindStop.UserSpace>(result.Stop);
        Assert.Equal(2, result.Frames.Length);
        Assert.Equal((54L, false), (user.SystemCallNumber, user.IsCompat));
        Assert.Equal((0x8048000ul, 0xbffff000ul, 3ul), (user.Registers.ProgramCounter, user.Registers.StackPointer, user.Registers[I386.Ebx]));
    }

    [Theory]
    [InlineData(0x60ul, 0x8004ul + 60)] // before 5.3 the processor's frame has no sp: the interrupted stack goes on behind flags
    [InlineData(0x60ul | (1ul << 29), 0x9000ul)] // since 5.3 entry code completes it and says so
    public void An_interrupted_kernel_function_has_the_stack_pointer_of_its_kernel(ulong cs, ulong sp)
    {
        var inner = _kernel.Function("common_interrupt_c", _kernel.CallBySp(4));
        var entry = _kernel.Function("asm_common_interrupt");
        var worker = _kernel.Function("worker", _kernel.CallBySp(4));
        var start = _kernel.Function("startup_32_smp");
        _kernel.Words(0x8000, entry + 0x20);
        PtRegs(0x8004, worker + 0x10, cs, uint.MaxValue, 0x9000);
        _kernel.Words(sp, start + 8);

        var result = StackUnwinder.Unwind(_kernel.At(inner, 0x8000), _kernel, _kernel);

        Assert.Equal([inner, entry + 0x20, worker + 0x10, start + 8], result.Frames.Select(f => f.ProgramCounter));
        Assert.Equal(sp, result.Frames[2].Registers.StackPointer);
        Assert.False(result.Frames[2].IsCall);
        Assert.IsType<UnwindStop.BootEntry>(result.Stop);
    }

    [Fact]
    public void Entry_code_that_has_not_saved_everything_has_no_caller()
    {
        var callee = _kernel.Function("do_int80_syscall_32", _kernel.CallBySp(4));
        var entry = _kernel.Function("entry_INT80_32");
        _kernel.Words(0x7ffc, [entry + 4, .. Enumerable.Repeat(0x12345678ul, 80)]);

        Assert.Contains("entry_INT80_32", Assert.IsType<UnwindStop.EndOfStack>(StackUnwinder.Unwind(_kernel.At(entry + 4, 0x8000), _kernel, _kernel).Stop).What);
        var called = StackUnwinder.Unwind(_kernel.At(callee, 0x7ffc), _kernel, _kernel);
        Assert.Equal(2, called.Frames.Length);
        Assert.IsType<UnwindStop.Corrupt>(called.Stop);
    }

    private void PtRegs(ulong at, ulong ip, ulong cs, uint number, ulong sp) =>
        _kernel.Words(at, 3, 4, 5, 6, 7, 8, 9, 0x7b, 0x7b, 0xd8, 0xe0, number, ip, cs, 0x246, sp, 0x7b);
}
