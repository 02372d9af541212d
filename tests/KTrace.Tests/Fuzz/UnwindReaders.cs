using KTrace.Symbols;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Btf;
using KTrace.Symbols.Dwarf;
using KTrace.Symbols.Elf;
using KTrace.Symbols.Orc;
using KTrace.Symbols.Types;
using KTrace.Symbols.Unwind;
using KTrace.Tests.Support;
using KTrace.Tests.Symbols.Btf;
using KTrace.Tests.Symbols.CallFrame;
using KTrace.Tests.Symbols.Unwind;

namespace KTrace.Tests.Fuzz;

/// <summary>Unwind tables, unwinding over hostile stacks, BTF.</summary>
internal static class UnwindReaders
{
    private static readonly FuzzMutation[] s_bytes = [Mutation.OfBytes, Mutation.OfBytes, Mutation.OfBlocks];

    public static IEnumerable<FuzzReader> All =>
    [
        new("call-frames", 10, CallFrameSeeds, s_bytes, CallFrames, FuzzReader.Malformed),
        new("call-frame-expressions", 8, ExpressionSeeds, s_bytes, Expressions, FuzzReader.Malformed),
        new("orc", 6, OrcSeeds, s_bytes, Orc, FuzzReader.Malformed),
        new("stacks", 5, StackSeeds, [Mutation.OfBytes, Mutation.OfBlocks, Stacks], Unwind, FuzzReader.Malformed),
        new("btf", 10, BtfSeeds, s_bytes, Btf, FuzzReader.Malformed),
    ];

    private static RegisterSet Registers(ulong step)
    {
        var registers = new RegisterSet(X86_64.Instance);
        for (var i = 0; i < X86_64.Instance.DwarfRegisterCount; i++)
        {
            registers[i] = (ulong)i * step;
        }

        registers[X86_64.Rsp] = NoiseMemory.Start + 0x100;
        registers[X86_64.Rbp] = NoiseMemory.Start + 0x200;
        return registers;
    }

    private static FuzzSeed CallFrameSeed(string name, string section, byte[] bytes)
    {
        var starts = new List<ulong>();
        var intact = new CallFrameTable(new CallFrameBytes().With(section, bytes), X86_64.Instance);
        foreach (var (from, to) in ((ulong, ulong)[])[(0xffffffff81000000, 0xffffffff81010000), (0x1000, 0x6000), (0x401000, 0x402000)])
        {
            for (var address = from; address < to; address += 0x10)
            {
                if (intact.TryFindRange(address, out var start, out _) && !starts.Contains(start))
                {
                    starts.Add(start);
                }
            }
        }

        Assert.NotEmpty(starts);
        return new FuzzSeed(name, new Dictionary<string, byte[]> { [section] = bytes }, starts);
    }

    private static IReadOnlyList<FuzzSeed> CallFrameSeeds(ScratchFolder folder)
    {
        // Real bytes (they hold every instruction that gcc writes), with hand-made entries of the rarer kinds behind.
        var real = StockUnwind.Vmlinux.GetSection(".debug_frame").Span[..0x4000].ToArray();
        byte[] section = [.. real, .. CallFrameBytes.Cie(4, is64: true), .. CallFrameBytes.Fde(real.Length, 0x5000, 0x40, [0x0a, 0x0f, 3, 0x77, 8, 0x06, 0x0b, 0x16, 3, 2, 0x12, 0x22, 0x41, 0x2e, 9], is64: true)];
        File.WriteAllBytes(folder.File("program"), FuzzPrograms.Build("gcc", "-gdwarf-5 -O2 -no-pie"));
        var program = ElfFile.Open(folder.File("program"));
        return
        [
            CallFrameSeed("stock .debug_frame", ".debug_frame", section),
            CallFrameSeed("hand-made .eh_frame", ".eh_frame",
                [.. CallFrameBytes.Cie(isEhFrame: true), .. CallFrameBytes.Fde(CallFrameBytes.Cie(isEhFrame: true).Length + 4, 0x2000, 0x100, CallFrameBytes.Advance1To3Push)]),
            new FuzzSeed("gcc .eh_frame", new Dictionary<string, byte[]> { [".eh_frame"] = program.GetSection(".eh_frame").Span.ToArray() },
                new List<ulong> { 0x401000 - program.GetSectionAddress(".eh_frame"), 0x401020 - program.GetSectionAddress(".eh_frame"), 0x401150 - program.GetSectionAddress(".eh_frame") }),
        ];
    }

    private static void CallFrames(FuzzCase c)
    {
        var starts = (List<ulong>)c.Seed.Context!;
        var (section, bytes) = c.Parts.Single();
        var architecture = c.Random.Next(4) == 0 ? (Architecture)I386.Instance : X86_64.Instance;
        var table = new CallFrameTable(new CallFrameBytes { AddressSize = architecture.WordSize }.With(section, bytes), architecture);
        var (registers, memory) = (new RegisterSet(architecture), new NoiseMemory(1, []));
        registers[architecture.StackPointer] = 0x1000;
        for (var i = 0; i < 20; i++)
        {
            var address = starts[c.Random.Next(starts.Count)] + (ulong)c.Random.Next(0x40);
            c.Ask(() => table.TryFindRange(address, out _, out _));
            c.Ask(() =>
            {
                var row = table.FindRow(address);
                row?.Cfa.Expression?.Evaluate(registers, memory, null, out _);
                foreach (var saved in row?.Saved ?? [])
                {
                    saved.Rule.Expression?.Evaluate(registers, memory, 0x1000, out _);
                }
            });
        }
    }

    // breg7 8; deref; plus_uconst; lit; dup; over; pick; bra back and forth; call_frame_cfa.
    private static IReadOnlyList<FuzzSeed> ExpressionSeeds(ScratchFolder folder) =>
    [
        FuzzSeed.OfFile("plt", [0x77, 8, 0x80, 0, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22]),
        FuzzSeed.OfFile("loop", [0x3f, 0x31, 0x1c, 0x12, 0x28, 0xfa, 0xff, 0x30, 0x22]),
        FuzzSeed.OfFile("stack", [0x0a, 0x34, 0x12, 0x12, 0x14, 0x15, 1, 0x16, 0x17, 0x13, 0x1b, 0x1d, 0x23, 0x80, 0x01, 0x06, 0x94, 4, 0x9c]),
        FuzzSeed.OfFile("constants", [0x03, 1, 2, 3, 4, 5, 6, 7, 8, 0x08, 9, 0x0e, 1, 2, 3, 4, 5, 6, 7, 8, 0x10, 0xff, 0x7f, 0x11, 0x7f, 0x92, 7, 8, 0x2f, 1, 0, 0x96]),
    ];

    private static void Expressions(FuzzCase c)
    {
        if (c.Bytes.Length > 0)
        {
            c.Ask(() => new CallFrameExpression(new SectionData("fuzz", "x", c.Bytes), 0, c.Bytes.Length, c.Random.Next(2) == 0 ? 4 : 8)
                .Evaluate(Registers(0x1111), new NoiseMemory(2, []), c.Random.Next(2) == 0 ? 1 : null, out _));
        }
    }

    private static IReadOnlyList<FuzzSeed> OrcSeeds(ScratchFolder folder) =>
    [
        .. new[] { "4.14.0", "4.19.0", "6.1.0", "6.3.1", "6.12.0" }
            .Select(release => new FuzzSeed(release, new Dictionary<string, byte[]> { [".orc_unwind_ip"] = FuzzPrograms.OrcIps, [".orc_unwind"] = FuzzPrograms.OrcRows, [".orc_header"] = [] }, release)),
        new("with header", new Dictionary<string, byte[]>
        {
            [".orc_unwind_ip"] = FuzzPrograms.OrcIps,
            [".orc_unwind"] = FuzzPrograms.OrcRows,
            // The hash that Linux 6.4 and later write (scripts/orc_hash.sh).
            [".orc_header"] = [0xfe, 0x5d, 0x32, 0xbf, 0x58, 0x1b, 0xd6, 0x3b, 0x2c, 0xa9, 0xa5, 0xc6, 0x5b, 0xa5, 0xa6, 0x25, 0xea, 0xb3, 0xfe, 0x24],
        }),
    ];

    private static void Orc(FuzzCase c)
    {
        var source = new CallFrameBytes();
        foreach (var (name, bytes) in c.Parts.Where(p => p.Value.Length > 0))
        {
            source.With(name, bytes, name == ".orc_unwind_ip" ? StockUnwind.Vmlinux.GetSectionAddress(".orc_unwind_ip") : 0);
        }

        var table = OrcTable.TryOpen(source, (string?)c.Seed.Context);
        for (var i = 0; i < 50 && table is not null; i++)
        {
            c.Ask(() => table.FindRow(0xffffffff81000000 + (ulong)c.Random.Next(0x8000)));
        }
    }

    private static IReadOnlyList<FuzzSeed> StackSeeds(ScratchFolder folder)
    {
        _ = StockUnwind.Kernel;
        return [.. Directory.EnumerateFiles(Path.Combine(AppContext.BaseDirectory, "Fixtures", "stacks"), "*.json").Order(StringComparer.Ordinal)
            .Select(file => StackCapture.Parse(File.ReadAllText(file)))
            .Where(capture => capture.Release == StockKernel.Release)
            .Select(capture => FuzzSeed.OfFile(capture.Label, capture.Words(0x800), capture)),
            FuzzSeed.OfFile("noise", new byte[0x800], null)];
    }

    // Words that are return addresses, stack addresses, or nothing.
    private static byte[] Stacks(byte[] bytes, Random random)
    {
        var text = StockUnwind.Vmlinux.FindSection(".text")!;
        var result = (byte[])bytes.Clone();
        for (var at = 0; at + 8 <= result.Length; at += 8)
        {
            var value = random.Next(4) switch
            {
                0 => text.Address + (ulong)random.NextInt64((long)text.Size),
                1 => 0xffffc90000010000 + (ulong)(random.Next(0x4000) & ~7),
                2 => (ulong)random.NextInt64(),
                _ => BitConverter.ToUInt64(result, at),
            };
            BitConverter.TryWriteBytes(result.AsSpan(at), value);
        }

        return result;
    }

    private static void Unwind(FuzzCase c)
    {
        var table = StockUnwind.Table([]);
        var capture = (StackCapture?)c.Seed.Context;
        var text = StockUnwind.Vmlinux.FindSection(".text")!;
        var registers = capture?.Registers.Clone() ?? new RegisterSet(X86_64.Instance);
        if (capture is null)
        {
            for (var i = 0; i < X86_64.Instance.DwarfRegisterCount; i++)
            {
                registers[i] = c.Random.Next(3) == 0 ? (ulong)c.Random.NextInt64() : NoiseMemory.Start + (ulong)(c.Random.Next(0x4000) & ~7);
            }

            registers[X86_64.Rsp] = NoiseMemory.Start + (ulong)(c.Random.Next(0x1000) & ~7);
            registers[X86_64.Rip] = text.Address + (ulong)c.Random.NextInt64((long)text.Size);
        }

        IMemoryReader memory = capture is null ? new NoiseMemory(c.Number, [text.Address, text.Address + text.Size]) : new WindowMemory(registers.StackPointer, c.Bytes);
        var result = StackUnwinder.Unwind(registers, memory, table);
        Assert.NotNull(result.Stop);
        Assert.InRange(result.Frames.Length, 1, StackUnwinder.DefaultLimit);
        foreach (var frame in result.Frames)
        {
            Assert.True(table.IsText(frame.LookupAddress) || (frame.ProgramCounter == 0 && !frame.IsCall) || frame == result.Frames[0], $"0x{frame.ProgramCounter:x} is no text");
        }

        c.Ask(() => { });
    }

    internal static IReadOnlyList<FuzzSeed> BtfSeeds(ScratchFolder folder)
    {
        var btf = new BtfBytes();
        var integer = btf.Add(1, "int", 4, 0, false, 32);
        var array = btf.Add(3, "", 0, 0, false, (uint)integer, (uint)integer, 4);
        var inner = btf.Add(5, "", 16, 2, false, btf.String("a"), (uint)array, 0, btf.String("b"), (uint)integer, 0);
        var typedef = btf.Add(8, "t", (uint)inner);
        btf.Add(4, "s", 24, 3, true, btf.String("x"), (uint)integer, 3u << 24, 0, (uint)inner, 32, btf.String("n"), (uint)typedef, 64);
        btf.Add(19, "e", 8, 1, false, btf.String("E"), 1, 2);
        File.WriteAllBytes(folder.File("vmlinux"), FuzzPrograms.Kernel);
        return
        [
            FuzzSeed.OfFile("hand-made", btf.Bytes()),
            FuzzSeed.OfFile("pahole -J", ElfFile.Open(folder.File("vmlinux")).GetSection(".BTF").Span.ToArray()),
        ];
    }

    private static void Btf(FuzzCase c)
    {
        var file = BtfFile.Open(new SectionData("fuzz", ".BTF", c.Bytes));
        var layouts = new StructLayouts(new BtfTypes(file).FindType);
        foreach (var (name, member) in ((string, string)[])[("s", "a[1]"), ("s", "n.b"), ("t", "nothing"), ("module", "core_layout.base"), ("task_struct", "comm[3]"), ("task_struct", "flags"), ("task_struct", "u.b")])
        {
            c.Ask(() => layouts.TryGetSize(name, out _));
            c.Ask(() => layouts.TryFindMember(name, member, out _));
        }

        for (var id = 0; id < Math.Min(file.EndId, 500); id++)
        {
            c.Ask(() =>
            {
                var type = file.TypeOf(id);
                _ = type.Name;
                if (type.Kind == BtfKind.Int)
                {
                    _ = type.Integer;
                }

                if (type.Kind == BtfKind.Array)
                {
                    _ = type.Array;
                }

                for (var i = 0; type.IsComposite && i < Math.Min(type.Count, 100); i++)
                {
                    _ = file.StringAt(type.Member(i).NameOffset);
                }
            });
        }
    }

    /// <summary>A stack of 16 KiB of return addresses, stack addresses and noise.</summary>
    private sealed class NoiseMemory(int seed, ulong[] text) : IMemoryReader
    {
        public const ulong Start = 0xffffc90000010000;

        public MemoryReadResult Read(ulong address, Span<byte> destination)
        {
            if (address < Start || address + (ulong)destination.Length > Start + 0x4000)
            {
                return address % 3 == 0 ? MemoryReadResult.NotFetched : MemoryReadResult.Unreadable;
            }

            for (var i = 0; i < destination.Length; i++)
            {
                var word = (address + (ulong)i) / 8;
                var random = unchecked((((ulong)seed * 486187739) + word) * 0x9e3779b97f4a7c15);
                random ^= random >> 29;
                var value = text.Length == 0 ? random
                    : (random % 10) switch
                    {
                        < 7 => text[0] + (random % (text[1] - text[0])),
                        < 9 => Start + (random % 0x4000 & ~7UL),
                        _ => random,
                    };
                destination[i] = (byte)(value >> (int)(8 * ((address + (ulong)i) % 8)));
            }

            return MemoryReadResult.Ok;
        }
    }

    /// <summary>The bytes from the stack pointer on; nothing else is mapped.</summary>
    private sealed class WindowMemory(ulong start, byte[] bytes) : IMemoryReader
    {
        public MemoryReadResult Read(ulong address, Span<byte> destination)
        {
            if (address < start || address - start > (ulong)bytes.Length || (ulong)bytes.Length - (address - start) < (ulong)destination.Length)
            {
                return address % 3 == 0 ? MemoryReadResult.NotFetched : MemoryReadResult.Unreadable;
            }

            bytes.AsSpan((int)(address - start), destination.Length).CopyTo(destination);
            return MemoryReadResult.Ok;
        }
    }
}
