using System.Diagnostics;
using KTrace.Symbols;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Btf;
using KTrace.Symbols.Dwarf;
using KTrace.Symbols.Orc;
using KTrace.Symbols.Types;
using KTrace.Symbols.Unwind;
using KTrace.Tests.Symbols.Btf;
using KTrace.Tests.Symbols.CallFrame;

namespace KTrace.Tests.Symbols.Unwind;

/// <summary>Damaged input: only declared outcomes, within a bound that no honest run comes near. Seeds are fixed, so a failure comes back.</summary>
public class UnwindMutationTests
{
    private static readonly TimeSpan Bound = TimeSpan.FromMinutes(1);

    [Fact]
    public void Damaged_call_frames_give_rows_or_none()
    {
        // Real bytes (they hold every instruction that gcc writes), with hand-made entries of the rarer kinds behind.
        var real = StockUnwind.Vmlinux.GetSection(".debug_frame").Span[..0x4000].ToArray();
        byte[] section = [.. real, .. CallFrameBytes.Cie(4, is64: true), .. CallFrameBytes.Fde(real.Length, 0x5000, 0x40, [0x0a, 0x0f, 3, 0x77, 8, 0x06, 0x0b, 0x16, 3, 2, 0x12, 0x22, 0x41, 0x2e, 9], is64: true)];
        var starts = new List<ulong>();
        var intact = new CallFrameTable(new CallFrameBytes().With(".debug_frame", section), X86_64.Instance);
        for (var address = 0xffffffff81000000; address < 0xffffffff81010000; address += 0x40)
        {
            if (intact.TryFindRange(address, out var start, out _))
            {
                starts.Add(start);
            }
        }

        starts.Add(0x5001);
        Assert.True(starts.Count > 50);
        var registers = new RegisterSet(X86_64.Instance) { [X86_64.Rsp] = 0x1000, [X86_64.Rbp] = 0x1100 };
        var memory = new RandomMemory(1, []);
        Run(3_000, (random, seed) =>
        {
            var bytes = Mutate(section, random);
            var eh = random.Next(4) == 0;
            var table = new CallFrameTable(new CallFrameBytes().With(eh ? ".eh_frame" : ".debug_frame", bytes), X86_64.Instance);
            for (var i = 0; i < 20; i++)
            {
                var row = table.FindRow(starts[random.Next(starts.Count)] + (ulong)random.Next(0x40));
                row?.Cfa.Expression?.Evaluate(registers, memory, null, out _);
                foreach (var saved in row?.Saved ?? [])
                {
                    saved.Rule.Expression?.Evaluate(registers, memory, 0x1000, out _);
                }
            }
        });
    }

    [Fact]
    public void Random_expressions_end()
    {
        var registers = new RegisterSet(X86_64.Instance);
        for (var i = 0; i < X86_64.Instance.DwarfRegisterCount; i++)
        {
            registers[i] = (ulong)i * 0x1111;
        }

        var memory = new RandomMemory(2, []);
        var values = 0;
        Run(20_000, (random, seed) =>
        {
            var bytes = new byte[random.Next(1, 40)];
            random.NextBytes(bytes);
            values += new CallFrameExpression(new SectionData("random", "x", bytes), 0, bytes.Length, random.Next(2) == 0 ? 4 : 8)
                .Evaluate(registers, memory, 1, out _) == ExpressionOutcome.Value ? 1 : 0;
        });
        Assert.True(values > 100);
    }

    [Fact]
    public void Damaged_orc_tables_give_rows_or_none_or_are_malformed()
    {
        const int entries = 400;
        var ips = StockUnwind.Vmlinux.GetSection(".orc_unwind_ip").Span[..(entries * 4)].ToArray();
        var rows = StockUnwind.Vmlinux.GetSection(".orc_unwind").Span[..(entries * OrcEntry.Size)].ToArray();
        var address = StockUnwind.Vmlinux.GetSectionAddress(".orc_unwind_ip");
        Run(4_000, (random, seed) =>
        {
            var source = new CallFrameBytes()
                .With(".orc_unwind_ip", Mutate(ips, random), address)
                .With(".orc_unwind", random.Next(2) == 0 ? rows : Mutate(rows, random));
            try
            {
                var table = OrcTable.TryOpen(source, random.Next(3) switch { 0 => "4.19.0", 1 => "6.3.1", _ => "6.12.0" });
                for (var i = 0; i < 50 && table is not null; i++)
                {
                    table.FindRow(0xffffffff81000000 + (ulong)random.Next(0x8000));
                }
            }
            catch (MalformedFileException)
            {
            }
        });
    }

    [Fact]
    public void Damaged_btf_gives_members_or_none_or_is_malformed()
    {
        var btf = new BtfBytes();
        var integer = btf.Add(1, "int", 4, 0, false, 32);
        var array = btf.Add(3, "", 0, 0, false, (uint)integer, (uint)integer, 4);
        var inner = btf.Add(5, "", 16, 2, false, btf.String("a"), (uint)array, 0, btf.String("b"), (uint)integer, 0);
        var typedef = btf.Add(8, "t", (uint)inner);
        btf.Add(4, "s", 24, 3, true, btf.String("x"), (uint)integer, 3u << 24, 0, (uint)inner, 32, btf.String("n"), (uint)typedef, 64);
        btf.Add(19, "e", 8, 1, false, btf.String("E"), 1, 2);
        var bytes = btf.Bytes();
        var (opened, malformed) = (0, 0);
        Run(10_000, (random, seed) =>
        {
            try
            {
                var layouts = new StructLayouts(new BtfTypes(BtfFile.Open(new SectionData("mutated", ".BTF", Mutate(bytes, random)))).FindType);
                layouts.TryGetSize("s", out var size);
                layouts.TryFindMember("s", "a[1]", out var location);
                layouts.TryFindMember("s", "n.b", out location);
                layouts.TryFindMember("t", "nothing", out location);
                opened++;
            }
            catch (MalformedFileException)
            {
                malformed++;
            }
        });
        Assert.True(opened > 500 && malformed > 500, $"{opened} opened, {malformed} malformed");
    }

    [Fact]
    public void Real_btf_with_damage_gives_members_or_none_or_is_malformed()
    {
        var bytes = StockUnwind.Vmlinux.GetSection(".BTF").Span.ToArray();
        Run(30, (random, seed) =>
        {
            var mutated = (byte[])bytes.Clone();
            for (var i = 0; i < 2_000; i++)
            {
                // Beyond the header, mostly in the types.
                mutated[24 + random.Next(mutated.Length - 24)] = (byte)random.Next(256);
            }

            try
            {
                var layouts = new StructLayouts(new BtfTypes(BtfFile.Open(new SectionData("mutated", ".BTF", mutated))).FindType);
                foreach (var name in new[] { "task_struct", "module", "net_device", "sk_buff" })
                {
                    layouts.TryGetSize(name, out _);
                    layouts.TryFindMember(name, "not_there", out _);
                }
            }
            catch (MalformedFileException)
            {
            }
        });
    }

    [Fact]
    public void Random_stacks_give_text_frames_and_a_reason()
    {
        var table = new UnwindTable(X86_64.Instance, [StockUnwind.Kernel]);
        var text = StockUnwind.Vmlinux.FindSection(".text")!;
        var longest = 0;
        Run(6_000, (random, seed) =>
        {
            var registers = new RegisterSet(X86_64.Instance);
            for (var i = 0; i < X86_64.Instance.DwarfRegisterCount; i++)
            {
                registers[i] = random.Next(3) == 0 ? (ulong)random.NextInt64() : 0xffffc90000010000 + (ulong)(random.Next(0x4000) & ~7);
            }

            registers[X86_64.Rsp] = 0xffffc90000010000 + (ulong)(random.Next(0x1000) & ~7);
            registers[X86_64.Rip] = text.Address + (ulong)random.NextInt64((long)text.Size);
            var memory = new RandomMemory(seed, [text.Address, text.Address + text.Size]);
            var result = StackUnwinder.Unwind(registers, memory, table);

            Assert.NotNull(result.Stop);
            Assert.InRange(result.Frames.Length, 1, StackUnwinder.DefaultLimit);
            longest = Math.Max(longest, result.Frames.Length);
            foreach (var frame in result.Frames)
            {
                Assert.True(table.IsText(frame.LookupAddress) || (frame.ProgramCounter == 0 && !frame.IsCall), $"seed {seed}: 0x{frame.ProgramCounter:x}");
            }
        });
        Assert.True(longest > 10, $"the random stacks were dull: {longest} frames at most");
    }

    private static void Run(int cases, Action<Random, int> one)
    {
        var clock = Stopwatch.StartNew();
        for (var seed = 0; seed < cases; seed++)
        {
            one(new Random(seed), seed);
            Assert.True(clock.Elapsed < Bound, $"case {seed} of {cases} after {clock.Elapsed}");
        }
    }

    private static byte[] Mutate(byte[] bytes, Random random)
    {
        var mutated = (byte[])bytes.Clone();
        for (var i = random.Next(1, 6); i > 0; i--)
        {
            var at = random.Next(mutated.Length);
            switch (random.Next(4))
            {
                case 0:
                    mutated[at] = (byte)random.Next(256);
                    break;
                case 1:
                    mutated[at] ^= (byte)(1 << random.Next(8));
                    break;
                case 2:
                    mutated.AsSpan(at, Math.Min(random.Next(1, 9), mutated.Length - at)).Fill(0xff);
                    break;
                default:
                    if (random.Next(8) == 0)
                    {
                        return mutated[..at].Length == 0 ? [0] : mutated[..at];
                    }

                    break;
            }
        }

        return mutated;
    }

    /// <summary>A stack of 16 KiB of return addresses, stack addresses and noise.</summary>
    private sealed class RandomMemory(int seed, ulong[] text) : IMemoryReader
    {
        private const ulong Start = 0xffffc90000010000;

        public MemoryReadResult Read(ulong address, Span<byte> destination)
        {
            if (address < Start || address + (ulong)destination.Length > Start + 0x4000)
            {
                return address % 3 == 0 ? MemoryReadResult.NotFetched : MemoryReadResult.Unreadable;
            }

            for (var i = 0; i < destination.Length; i++)
            {
                var word = (address + (ulong)i) / 8;
                var random = new Random(unchecked((seed * 486187739) + (int)word));
                var value = text.Length == 0 ? (ulong)random.NextInt64()
                    : random.Next(10) switch
                    {
                        < 7 => text[0] + (ulong)random.NextInt64((long)(text[1] - text[0])),
                        < 9 => Start + (ulong)(random.Next(0x4000) & ~7),
                        _ => (ulong)random.NextInt64(),
                    };
                destination[i] = (byte)(value >> (int)(8 * ((address + (ulong)i) % 8)));
            }

            return MemoryReadResult.Ok;
        }
    }
}
