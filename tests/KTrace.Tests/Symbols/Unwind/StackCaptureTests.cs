using System.Buffers.Binary;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Unwind;
using KTrace.Tests.Support;

namespace KTrace.Tests.Symbols.Unwind;

/// <summary>
/// Stacks of the stock kernel, taken by gdb over QEMU's stub at a breakpoint or after a single step: nobody of ours had a hand in them.
/// Up to where gdb starts to guess (a module without symbols, entry code, beyond the first code of a task), its frames are ours.
/// </summary>
public class StackCaptureTests
{
    private static readonly string Folder = Path.Combine(AppContext.BaseDirectory, "Fixtures", "stacks");

    public static TheoryData<string> Names => [.. Directory.EnumerateFiles(Folder, "*.json").Select(f => Path.GetFileNameWithoutExtension(f)!).Order()];

    [Theory]
    [MemberData(nameof(Names))]
    public void Frames_and_their_end_are_those_that_were_established(string name)
    {
        var capture = Load(name);
        var table = StockUnwind.Table(capture.Modules);
        var result = StackUnwinder.Unwind(capture.Registers, capture, table);

        Assert.Equal(capture.Expected, result.Frames.Select(f => StockUnwind.Describe(f, table)));
        Assert.Equal(capture.ExpectedStop, StockUnwind.Describe(result.Stop));
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Frames_are_gdbs_up_to_where_gdb_guesses(string name)
    {
        var capture = Load(name);
        var table = StockUnwind.Table(capture.Modules);
        var ours = StackUnwinder.Unwind(capture.Registers, capture, table).Frames;
        var same = 0;
        foreach (var (pc, _) in capture.GdbFrames)
        {
            if (same == ours.Length || ours[same].ProgramCounter != pc)
            {
                break;
            }

            same++;
        }

        // The ways part only where our step did not rest on CFI alone: entry code, a stack switch, or what inline assembly pushed.
        Assert.True(
            same == ours.Length || ours[same].Rule != UnwindRule.Cfi || StockUnwind.CallFrames.FindRow(ours[same - 1].LookupAddress) is null,
            $"gdb and we part behind {StockUnwind.Describe(ours[same - 1], table)}");
    }

    [Fact]
    public void The_same_stack_is_found_where_KASLR_moved_the_kernel()
    {
        const ulong slide = 0x12400000;
        var capture = Load("page-fault-of-user-space");
        var text = StockUnwind.Kernel.Text;
        bool IsText(ulong address) => text.Any(t => t.Contains(address) || t.End == address);
        var registers = capture.Registers.Clone();
        registers[X86_64.Rip] += slide;
        var moved = new UnwindTable(
            X86_64.Instance,
            [StockUnwind.Kernel with { Slide = slide, Text = [.. text.Select(t => new AddressRange(t.Start + slide, t.End + slide))] }]);

        var result = StackUnwinder.Unwind(registers, new Slid(capture, IsText, slide), moved);

        Assert.Equal(capture.Expected, result.Frames.Select(f => StockUnwind.Describe(f, moved)));
        Assert.IsType<UnwindStop.UserSpace>(result.Stop);
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void A_stack_that_comes_in_small_pieces_is_fetched_to_its_end(string name)
    {
        var capture = Load(name);
        var table = StockUnwind.Table(capture.Modules);
        var pieces = new Pieces(capture);
        UnwindResult result;
        var rounds = 0;
        while ((result = StackUnwinder.Unwind(capture.Registers, pieces, table)).Stop is UnwindStop.MemoryMissing missing)
        {
            Assert.True(++rounds < 1000);
            pieces.Fetch(missing.Address, missing.Length);
        }

        Assert.True(rounds > 0);
        Assert.Equal(capture.Expected, result.Frames.Select(f => StockUnwind.Describe(f, table)));
        Assert.Equal(capture.ExpectedStop, StockUnwind.Describe(result.Stop));
    }

    [Fact]
    public void The_kernel_prints_the_same_call_trace()
    {
        // sysrq-l: stopped at show_trace_log_lvl, continued, and the guest's console read afterwards.
        var capture = Load("the-kernels-own-call-trace");
        var table = StockUnwind.Table(capture.Modules);
        var frames = StackUnwinder.Unwind(capture.Registers, capture, table).Frames;

        Assert.Equal(10, capture.Console.Length);
        Assert.Equal(capture.Console, frames.Skip(1).Select(f => StockUnwind.Describe(f, table).Split(' ')[1]));
    }

    [Fact]
    public void Callee_saved_registers_are_restored_through_an_interrupt()
    {
        // do_idle keeps what native_safe_halt was interrupted with; CFI of every frame between restores it.
        var capture = Load("interrupt-of-the-idle-task");
        var table = StockUnwind.Table(capture.Modules);
        var frames = StackUnwinder.Unwind(capture.Registers, capture, table).Frames;
        var interrupted = frames.Single(f => f.Rule == UnwindRule.SavedRegisters);

        Assert.False(interrupted.IsCall);
        foreach (var register in X86_64.Instance.GeneralRegisters)
        {
            Assert.True(interrupted.Registers.IsKnown(register));
        }

        var caller = frames[frames.IndexOf(interrupted) + 1];
        Assert.True(caller.IsCall);
        Assert.True(caller.Registers.IsKnown(X86_64.Rbx));
        Assert.False(caller.Registers.IsKnown(X86_64.Rax));
        Assert.True(caller.Registers.IsKnown(X86_64.GsBase));
    }

    internal static StackCapture Load(string name)
    {
        var capture = StackCapture.Parse(File.ReadAllText(Path.Combine(Folder, name + ".json")));
        Assert.True(capture.Release == StockKernel.Release, $"the captured stacks are of {capture.Release}: the tests need that kernel, not {StockKernel.Release}");
        return capture;
    }

    /// <summary>Memory in which every address of kernel code is higher.</summary>
    private sealed class Slid(IMemoryReader memory, Func<ulong, bool> isText, ulong slide) : IMemoryReader
    {
        public MemoryReadResult Read(ulong address, Span<byte> destination)
        {
            var result = memory.Read(address, destination);
            for (var i = 0; i + 8 <= destination.Length; i += 8)
            {
                var value = BinaryPrimitives.ReadUInt64LittleEndian(destination[i..]);
                if (isText(value))
                {
                    BinaryPrimitives.WriteUInt64LittleEndian(destination[i..], value + slide);
                }
            }

            return result;
        }
    }

    private sealed class Pieces(IMemoryReader memory) : IMemoryReader
    {
        private readonly HashSet<ulong> _fetched = [];

        public void Fetch(ulong address, int length)
        {
            for (var i = 0; i < length; i++)
            {
                _fetched.Add(address + (ulong)i);
            }
        }

        public MemoryReadResult Read(ulong address, Span<byte> destination)
        {
            for (var i = 0; i < destination.Length; i++)
            {
                if (!_fetched.Contains(address + (ulong)i))
                {
                    return MemoryReadResult.NotFetched;
                }
            }

            return memory.Read(address, destination);
        }
    }
}
