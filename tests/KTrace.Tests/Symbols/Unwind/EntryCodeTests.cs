using KTrace.Symbols.Arch;
using KTrace.Symbols.Unwind;

namespace KTrace.Tests.Symbols.Unwind;

/// <summary>Stops where no table says anything: entry code in the middle of saving registers, assembly, boot code, tracers' trampolines.</summary>
public class EntryCodeTests
{
    private readonly FakeUnwind _wide = new(X86_64.Instance);
    private readonly FakeUnwind _narrow = new(I386.Instance);

    [Theory]
    [InlineData(0x7ffd0010ul)] // SYSCALL changes no stack
    [InlineData(0x8000ul)] // the task's stack, nothing pushed
    [InlineData(0x7ff0ul)] // ss and sp pushed
    public void Behind_SYSCALL_user_space_is_in_rcx_and_r11(ulong sp)
    {
        var entry = _wide.Function("entry_SYSCALL_64", UnwindRow.End(UnwindRule.Orc));
        _wide.Words(0xffff_c900_0000_7ff0, [0x7ffd0010, 0x2b, .. new ulong[80]]);
        var kernel = sp > 0x10000 ? 0 : 0xffff_c900_0000_0000;
        var registers = _wide.At(entry + 3, sp + kernel);
        registers[X86_64.Rcx] = 0x401000;
        registers[X86_64.R11] = 0x246;
        registers[X86_64.Rax] = 39;

        var user = Assert.IsType<UnwindStop.UserSpace>(StackUnwinder.Unwind(registers, _wide, _wide).Stop);

        Assert.Equal((0x401000ul, 39L), (user.Registers.ProgramCounter, user.SystemCallNumber!.Value));
        Assert.Equal(sp == 0x8000 ? 0 : 0x7ffd0010ul, user.Registers.StackPointer);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(9)]
    public void An_exceptions_frame_is_found_however_much_was_pushed_below_it(int pushed)
    {
        var entry = _wide.Function("asm_exc_page_fault", UnwindRow.End(UnwindRule.Orc));
        const ulong frame = 0xffff_c900_0000_8000 - 40;
        _wide.Words(frame - 80, 0x33, 0x246, 0x10, 0x2b, 0, 1, 2, 3, 4, 5);
        _wide.Words(frame, 0x401000, 0x33, 0x10246, 0x7ffd0000, 0x2b);

        var user = Assert.IsType<UnwindStop.UserSpace>(StackUnwinder.Unwind(_wide.At(entry + 2, frame - ((ulong)pushed * 8)), _wide, _wide).Stop);

        Assert.Equal((0x401000ul, 0x7ffd0000ul), (user.Registers.ProgramCounter, user.Registers.StackPointer));
        Assert.Null(user.SystemCallNumber);
        Assert.False(user.Registers.IsKnown(X86_64.Rbx));
    }

    [Fact]
    public void A_frame_of_user_mode_that_does_not_end_its_stack_is_none()
    {
        var entry = _wide.Function("asm_exc_page_fault", UnwindRow.End(UnwindRule.Orc));
        _wide.Words(0xffff_c900_0000_7000, [0x401000, 0x33, 0x10246, 0x7ffd0000, 0x2b, .. new ulong[80]]);

        var stop = StackUnwinder.Unwind(_wide.At(entry + 2, 0xffff_c900_0000_7000), _wide, _wide).Stop;

        Assert.Contains("asm_exc_page_fault", Assert.IsType<UnwindStop.EndOfStack>(stop).What);
    }

    [Fact]
    public void An_interrupted_kernel_function_is_found_from_the_first_instruction_on()
    {
        var entry = _wide.Function("asm_common_interrupt", UnwindRow.End(UnwindRule.Orc));
        var worker = _wide.Function("worker", _wide.CallBySp(8));
        var start = _wide.Function("ret_from_fork");
        _wide.Words(0xffff_c900_0000_7000, 0x80, worker + 4, 0x10, 0x246, 0xffff_c900_0000_7030, 0x18, start + 8);

        var result = StackUnwinder.Unwind(_wide.At(entry, 0xffff_c900_0000_7000), _wide, _wide);

        Assert.Equal([entry, worker + 4, start + 8], result.Frames.Select(f => f.ProgramCounter));
        Assert.IsType<UnwindStop.KernelThreadStart>(result.Stop);
    }

    [Theory]
    [InlineData(0x60ul, 3)]
    [InlineData(0x73ul, 5)]
    public void On_i386_the_frame_has_three_words_or_five(ulong cs, int words)
    {
        var entry = _narrow.Function("asm_exc_page_fault");
        var worker = _narrow.Function("worker", _narrow.CallBySp(4));
        var start = _narrow.Function("ret_from_fork");
        _narrow.Words(0xc7ff0000, [3, cs == 0x60 ? worker + 4 : 0x8048000, cs, 0x246, cs == 0x60 ? start + 8 : 0xbffff000, 0x7b]);

        var result = StackUnwinder.Unwind(_narrow.At(entry + 2, 0xc7ff0000), _narrow, _narrow);

        Assert.Equal(words == 5, result.Stop is UnwindStop.UserSpace { Registers.StackPointer: 0xbffff000 });
        Assert.Equal(words == 3, result.Stop is UnwindStop.KernelThreadStart && result.Frames.Length == 3);
    }

    [Fact]
    public void A_program_that_execve_is_about_to_start_has_flags_without_bit_1()
    {
        var entry = _wide.Function("entry_SYSCALL_64", new UnwindRow(UnwindRule.Orc, FrameShape.SavedRegisters, new CfaRule(CfaKind.Register, X86_64.Rsp, 0), [], true, false));
        _wide.Words(0x8000, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 59, 0x401000, 0x33, 0x200, 0x7ffd0000, 0x2b);

        Assert.IsType<UnwindStop.UserSpace>(StackUnwinder.Unwind(_wide.At(entry + 9, 0x8000), _wide, _wide).Stop);
    }

    [Fact]
    public void Assembly_without_rows_returns_to_behind_a_call_of_itself()
    {
        var caller = _wide.Function("ret_from_fork");
        var other = _wide.Function("other");
        var leaf = _wide.Function("clear_page_rep");
        foreach (var (at, target) in (ReadOnlySpan<(ulong, ulong)>)[(caller + 0x20, leaf), (caller + 0x40, other)])
        {
            Code(at - 5, target, at);
        }

        _wide.Words(0x8000, 7, caller + 0x40, caller + 0x20);
        Assert.Equal([leaf + 3, caller + 0x20], StackUnwinder.Unwind(_wide.At(leaf + 3, 0x8000), new Bytes(_wide, _code), _wide).Frames.Select(f => f.ProgramCounter));
    }

    [Theory]
    [InlineData("return_to_handler", "function graph")]
    [InlineData("arch_rethook_trampoline", "return probe")]
    public void A_tracer_that_took_the_return_address_is_named(string function, string words)
    {
        var inner = _wide.Function("inner", _wide.CallBySp(8));
        var handler = _wide.Function(function, UnwindRow.End(UnwindRule.Orc));
        _wide.Words(0x8000, handler + 1);

        Assert.Contains(words, Assert.IsType<UnwindStop.EndOfStack>(StackUnwinder.Unwind(_wide.At(inner, 0x8000), _wide, _wide).Stop).What);
    }

    [Theory]
    [InlineData(0x100000ul, 0x11ul, "before paging")]
    [InlineData(0x2fd1000ul, 0x80000011ul, "decompressor")]
    public void Before_the_kernels_own_page_tables_there_is_one_frame_and_a_reason(ulong pc, ulong cr0, string words)
    {
        var registers = _wide.At(pc, 0x1000);
        registers[X86_64.Cr0] = cr0;

        var result = StackUnwinder.Unwind(registers, _wide, _wide);

        Assert.Single(result.Frames);
        Assert.Contains(words, Assert.IsType<UnwindStop.BootEntry>(result.Stop).What);
    }

    private readonly Dictionary<ulong, byte[]> _code = [];

    private void Code(ulong at, ulong target, ulong next) => _code[at] = [0xe8, .. BitConverter.GetBytes((int)(target - next))];

    private sealed class Bytes(FakeUnwind words, Dictionary<ulong, byte[]> code) : IMemoryReader
    {
        public MemoryReadResult Read(ulong address, Span<byte> destination)
        {
            if (!code.TryGetValue(address, out var bytes))
            {
                return words.Read(address, destination);
            }

            bytes.CopyTo(destination);
            return MemoryReadResult.Ok;
        }
    }
}
