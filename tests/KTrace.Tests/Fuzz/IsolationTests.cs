using KTrace.Symbols;
using KTrace.Symbols.Dwarf;
using KTrace.Symbols.Elf;
using KTrace.Tests.Support;

namespace KTrace.Tests.Fuzz;

/// <summary>DWARF that is wrong in one unit costs that unit only: whatever its DIEs, abbreviations, lines and ranges say, the other unit's answers stay what they were.</summary>
public sealed class IsolationTests
{
    [Theory]
    [InlineData("-gdwarf-5 -O2")]
    [InlineData("-gdwarf-4 -O2")]
    [InlineData("-gdwarf-5 -O1 -m32 -no-pie")]
    public void Damage_in_one_unit_leaves_the_other_units_answers_alone(string options) => Run(options, 0, 300);

    [Theory]
    [Trait("Group", "Long")]
    [InlineData("-gdwarf-5 -O2")]
    [InlineData("-gdwarf-4 -O2")]
    [InlineData("-gdwarf-5 -O1 -m32 -no-pie")]
    public void Damage_in_one_unit_leaves_the_other_units_answers_alone_at_length(string options) => Run(options, 300, 5_000);

    private static void Run(string options, int first, int count)
    {
        using var folder = new ScratchFolder();
        var path = folder.File("program");
        File.WriteAllBytes(path, FuzzPrograms.Build("gcc", options));
        var file = ElfFile.Open(path);
        var symbols = new ElfSymbolTable(file);
        var names = file.Sections.Select(s => s.Name).Where(n => n.StartsWith(".debug_", StringComparison.Ordinal)).Distinct().ToArray();
        var intact = names.ToDictionary(n => n, n => file.GetSection(n).Span.ToArray());
        var honest = new Symbolizer(file, symbols);
        var units = honest.Units.UnitOffsets.ToArray();
        var addresses = symbols.All.Where(s => s.IsFunction && s.Size > 0).SelectMany(s => Enumerable.Range(0, (int)Math.Min(s.Size, 40)).Select(i => s.Value + (ulong)i)).ToArray();
        // Code that no unit has (the start files of the C library) may be claimed by the damaged one; that is no other unit's.
        addresses = [.. addresses.Where(a => honest.Units.Find(a) >= 0)];
        Assert.Equal(2, units.Length);
        var changed = 0;
        for (var number = first; number < first + count; number++)
        {
            var random = new Random(number);
            var victim = units[number % 2];
            var damaged = new SyntheticSections(file.AddressSize);
            foreach (var name in names)
            {
                damaged[name] = intact[name];
            }

            var (section, start, length) = Part(honest, intact, victim, random);
            var bytes = intact[section][start..(start + length)];
            var wrong = Mutation.OfBytes(bytes, random);
            var whole = (byte[])intact[section].Clone();
            wrong.AsSpan(0, Math.Min(wrong.Length, length)).CopyTo(whole.AsSpan(start));
            damaged[section] = whole;
            var symbolizer = new Symbolizer(damaged, symbols);
            foreach (var address in addresses)
            {
                var own = honest.Units.Find(address) == victim;
                var answer = symbolizer.Symbolize(address);
                if (own)
                {
                    changed += answer.SequenceEqual(honest.Symbolize(address)) ? 0 : 1;
                    continue;
                }

                Assert.True(answer.SequenceEqual(honest.Symbolize(address)),
                    $"case {number}: damage to {section} of the unit at 0x{victim:x} changed 0x{address:x}: {string.Join(", ", answer)} instead of {string.Join(", ", honest.Symbolize(address))}");
                Assert.Equal(Text(honest.FindFunctionAt(address)), Text(symbolizer.FindFunctionAt(address)));
            }
        }

        Assert.True(changed > count, $"the damage was dull: {changed} answers changed");
    }

    private static string Text(FunctionExtent? function) => function is null ? "none"
        : $"{function.Name} 0x{function.LowPc:x} {function.Size} {function.Declaration} {function.ReturnType} {string.Join(", ", function.Parameters)}";

    // A piece that belongs to the unit alone: its DIEs behind the header, its abbreviations, its line program behind the length.
    private static (string Section, int Start, int Length) Part(Symbolizer honest, Dictionary<string, byte[]> intact, int offset, Random random)
    {
        var unit = new Unit(honest.Sections);
        unit.Load(offset);
        switch (random.Next(3))
        {
            case 0:
                var next = honest.Units.UnitOffsets.ToArray().Select(o => UnitHeader.Read(honest.Sections.Info, o).AbbreviationOffset).Where(a => a > unit.Header.AbbreviationOffset)
                    .Append(intact[".debug_abbrev"].Length).Min();
                return (".debug_abbrev", unit.Header.AbbreviationOffset, next - unit.Header.AbbreviationOffset);
            case 1:
                var lines = (int)unit.LineOffset;
                return (".debug_line", lines + 4, BitConverter.ToInt32(intact[".debug_line"], lines));
            default:
                return (".debug_info", unit.Header.FirstEntry, unit.Header.End - unit.Header.FirstEntry);
        }
    }
}
