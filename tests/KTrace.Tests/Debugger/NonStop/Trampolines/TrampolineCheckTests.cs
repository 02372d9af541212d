using System.Collections.Immutable;
using KTrace.Debugger.NonStop.Guest;
using KTrace.Debugger.NonStop.Ring;
using KTrace.Debugger.NonStop.Trampolines;
using KTrace.Symbols.Arch;

namespace KTrace.Tests.Debugger.NonStop.Trampolines;

/// <summary>The bytes themselves.</summary>
public sealed class TrampolineCheckTests
{
    private static readonly NonStopLayout Layout64 = new(0x1000_0000, 0xffff_ffff_fc00_0000, 2 << 20, 16 << 20);
    private static readonly NonStopLayout Layout32 = new(0x1000_0000, 0xfb00_0000, 4 << 20, 8 << 20);

    internal static KernelOffsets Kernel64 { get; } = new(8, PerCpuSegment.Gs, 0x1fb80, new TaskMembers(2256, 2992, 32, 2260, 44), 16384)
    {
        CpuNumber = 0x199e0,
        PreemptCount = 0x1fb40,
        HardIrqStack = 0x1fb48,
        ExceptionStackBase = 0x1fff8,
        ExceptionStacks = [new("DF", 4096, 8192), new("NMI", 16384, 8192), new("DB", 28672, 8192), new("MCE", 40960, 8192), new("VC", 53248, 8192), new("VC2", 65536, 8192)],
    };

    internal static KernelOffsets Kernel32 { get; } = new(4, PerCpuSegment.Fs, 0xc182_d624, new TaskMembers(700, 900, 16, 704, 24), 8192)
    {
        CpuNumber = 0xc182_8158,
        PreemptCount = 0xc182_d61c,
        HardIrqStack = 0xc182_d090,
        SoftIrqStack = 0xc182_d08c,
    };

    /// <summary>Kernels with everything, and with nothing that can be left out.</summary>
    public static TheoryData<bool, bool, bool, bool> Variants
    {
        get
        {
            var data = new TheoryData<bool, bool, bool, bool>();
            for (var bits = 0; bits < 16; bits++)
            {
                data.Add((bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0, (bits & 8) != 0);
            }

            return data;
        }
    }

    [Theory]
    [MemberData(nameof(Variants))]
    public void Every_path_of_every_trampoline_leaves_the_stack_as_it_was(bool is64Bit, bool isBare, bool lossy, bool returns)
    {
        var (kernel, layout, architecture) = Of(is64Bit, isBare);
        var stubs = ReturnTrampoline.Assemble(kernel, layout, lossy, layout.Code);
        var program = new TrampolineProgram(3, 4096) { Sample = isBare ? 1 : 10, First = lossy ? null : 5_000_000_000, Returns = returns };
        var block = EntryTrampoline.Assemble(kernel, layout, program, lossy, stubs.Code.End, stubs);
        Assert.Empty(TrampolineCheck.Complaints(block, architecture, 0));
        var before = EntryTrampoline.Assemble(kernel, layout, program with { Index = 4 }, lossy, block.End, stubs, next: block.Address);
        Assert.Empty(TrampolineCheck.Complaints(before, architecture, block.Address, 0));
        Assert.NotEmpty(TrampolineCheck.Complaints(before, architecture, 0));
        var shared = ReturnEntry.Count * 16;
        Assert.Empty(TrampolineCheck.Complaints(
            new CodeBlock(layout.Code + (ulong)shared, stubs.Code.Bytes[shared..]) { Frames = [.. stubs.Code.Frames.Where(f => f.Offset >= shared).Select(f => (f.Offset - shared, f.FrameDistance))] },
            architecture, 0));
    }

    [Fact]
    public void A_stub_s_address_tells_its_index_and_its_code_pushes_one_within_it()
    {
        var stubs = ReturnTrampoline.Assemble(Kernel64, Layout64, false, Layout64.Code);
        foreach (var index in new[] { 0, 1, 255, ReturnEntry.Count - 1 })
        {
            var address = stubs.StubAddress(index);
            Assert.Equal(index, stubs.IndexOf(address));
            Assert.Null(stubs.IndexOf(address + 1));
            var code = KTrace.Symbols.Disassembly.Disassembler.Disassemble(X86_64.Instance, stubs.Code.Bytes.AsSpan((int)(address - Layout64.Code), 10), address);
            Assert.StartsWith("call", code[0].Text, StringComparison.Ordinal);
            Assert.Equal(Layout64.Code + (ReturnEntry.Count * 16), code[0].Target);
        }

        Assert.Null(stubs.IndexOf(stubs.StubAddress(ReturnEntry.Count - 1) + 16));
        Assert.Null(stubs.IndexOf(Layout64.Code - 16));
    }

    /// <summary>The check itself: one byte that is wrong is seen.</summary>
    [Fact]
    public void Broken_code_is_seen()
    {
        var block = EntryTrampoline.Assemble(Kernel64, Layout64, new TrampolineProgram(0, 2048), false, Layout64.Code);
        Assert.Empty(TrampolineCheck.Complaints(block, X86_64.Instance, 0));
        var popped = block.Bytes.LastIndexOf((byte)0x5d);
        Assert.NotEmpty(TrampolineCheck.Complaints(block with { Bytes = block.Bytes.SetItem(popped, 0x5e) }, X86_64.Instance, 0));

        // cli becomes sti, cld (behind the stack's growth) std.
        Assert.NotEmpty(TrampolineCheck.Complaints(block with { Bytes = block.Bytes.SetItem(block.Bytes.IndexOf((byte)0xfa), 0xfb) }, X86_64.Instance, 0));
        Assert.NotEmpty(TrampolineCheck.Complaints(block with { Bytes = block.Bytes.SetItem(block.Bytes.AsSpan().IndexOf(new byte[] { 0xe0, 0xfc }) + 1, 0xfd) }, X86_64.Instance, 0));

        // The last jump leads elsewhere.
        Assert.NotEmpty(TrampolineCheck.Complaints(block with { Bytes = block.Bytes.SetItem(block.Bytes.Length - 1, 0x7f) }, X86_64.Instance, 0));
        Assert.NotEmpty(TrampolineCheck.Complaints(block with { Frames = block.Frames.SetItem(1, (block.Frames[1].Offset, 24)) }, X86_64.Instance, 0));
    }

    [Fact]
    public void A_program_whose_record_the_ring_cannot_take_is_refused()
    {
        Assert.Throws<ArgumentException>(() => EntryTrampoline.Assemble(Kernel64, Layout64 with { RingLimit = 4096 }, new TrampolineProgram(0, 4096), false, Layout64.Code));
        Assert.Throws<ArgumentException>(() => EntryTrampoline.Assemble(Kernel64, Layout64, new TrampolineProgram(0, 4096) { Returns = true }, false, Layout64.Code));
    }

    private static (KernelOffsets Kernel, NonStopLayout Layout, Architecture Architecture) Of(bool is64Bit, bool isBare)
    {
        var kernel = is64Bit ? Kernel64 : Kernel32;
        kernel = isBare
            ? new KernelOffsets(kernel.WordSize, PerCpuSegment.None, is64Bit ? 0xffff_ffff_8280_0000 : 0xc180_0000, new TaskMembers(700, 900, 16, null, null), kernel.ThreadSize)
            : kernel;
        return (kernel, is64Bit ? Layout64 : Layout32, is64Bit ? X86_64.Instance : I386.Instance);
    }
}
