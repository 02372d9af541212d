using System.Globalization;
using System.Text;
using KTrace.Symbols;
using KTrace.Symbols.Dwarf;
using KTrace.Symbols.Elf;
using KTrace.Tests.Support;

namespace KTrace.Tests.Symbols;

/// <summary>Line for line against the real binutils addr2line, on the stock kernel and one of its modules. There are no exceptions; Addr2Line.cs lists what differs elsewhere.</summary>
public sealed class Addr2LineTests
{
    private const int Seed = 20261121;

    [Fact]
    public void Random_text_of_the_stock_kernel_is_named_as_addr2line_names_it()
    {
        var random = new Random(Seed);
        var file = ElfFile.Open(StockKernel.Vmlinux);
        var code = file.Sections.Where(s => s.IsExecutable && s.Size > 0x10000).ToList();
        var addresses = new List<ulong>();
        for (var i = 0; i < 3000; i++)
        {
            var section = code[random.Next(10) == 0 ? random.Next(code.Count) : 0];
            addresses.Add(section.Address + (ulong)random.NextInt64((long)section.Size));
        }

        AssertSame(StockKernel.Vmlinux, addresses);
    }

    [Fact]
    public void Edges_of_the_stock_kernels_code_are_named_as_addr2line_names_them()
    {
        var random = new Random(Seed + 1);
        var file = ElfFile.Open(StockKernel.Vmlinux);
        var table = new ElfSymbolTable(file);
        var code = file.Sections.Where(s => s.IsExecutable).Select(s => s.Index).ToHashSet();
        var symbols = table.All.Where(s => code.Contains(s.SectionIndex) && s.Type is ElfSymbol.TypeFunction or ElfSymbol.TypeNone).ToArray();
        var labels = symbols.Where(s => s.Type == ElfSymbol.TypeNone).ToArray();
        var addresses = new List<ulong>();
        foreach (var symbol in symbols.OrderBy(_ => random.Next()).Take(800).Concat(labels))
        {
            // Starts, ends, the gap behind, and one byte before.
            addresses.AddRange([symbol.Value, symbol.Value + symbol.Size / 2, symbol.Value + symbol.Size - 1, symbol.Value + symbol.Size, symbol.Value + symbol.Size + 1, symbol.Value - 1]);
        }

        // Assembly entry code, byte by byte.
        var entry = table.Find("entry_SYSCALL_64").Single().Symbol.Value;
        addresses.AddRange(Enumerable.Range(-16, 400).Select(i => entry + (ulong)i));
        // Code that lies in no unit's ranges: what inline assembly puts aside, and discarded init and exit code.
        foreach (var section in file.Sections.Where(s => s.IsExecutable && s.Size > 0))
        {
            addresses.AddRange([section.Address, section.Address + section.Size - 1, section.Address + section.Size]);
            addresses.AddRange(Enumerable.Range(0, 150).Select(_ => section.Address + (ulong)random.NextInt64((long)section.Size)));
        }

        addresses.AddRange([1, 0x7fffffff, 0xffff888000000000, 0xffffffff80000000, ulong.MaxValue]);
        AssertSame(StockKernel.Vmlinux, addresses.OrderBy(_ => random.Next()).ToList());
    }

    [Fact]
    public void Data_of_the_stock_kernel_is_named_as_addr2line_names_it()
    {
        var random = new Random(Seed + 2);
        var file = ElfFile.Open(StockKernel.Vmlinux);
        var data = file.Sections.Where(s => s.IsAllocated && !s.IsExecutable && s.Size > 0).Select(s => s.Index).ToHashSet();
        var symbols = new ElfSymbolTable(file).All.Where(s => data.Contains(s.SectionIndex) && s.Type is ElfSymbol.TypeObject or ElfSymbol.TypeNone && s.Value > 0);
        var addresses = symbols.OrderBy(_ => random.Next()).Take(150).SelectMany(s => new[] { s.Value, s.Value + 1 });
        AssertSame(StockKernel.Vmlinux, addresses.ToList());
    }

    [Fact]
    public void Code_and_data_of_a_module_are_named_as_addr2line_names_them_with_debug_information_and_without()
    {
        var random = new Random(Seed + 3);
        foreach (var path in new[] { StockKernel.DebugModule("e1000e"), StockKernel.Module("e1000e") })
        {
            var text = ElfFile.Open(path).FindSection(".text")!;
            // Small offsets lie in many sections of a relocatable file; each is tried.
            var addresses = Enumerable.Range(0, 0x600).Select(i => (ulong)i)
                .Concat(Enumerable.Range(0, 2500).Select(_ => (ulong)random.NextInt64((long)text.Size + 16)));
            AssertSame(path, addresses.ToList());
        }
    }

    /// <summary>addr2line forgets nothing between addresses, so one address at a time may come out differently: that is modelled too.</summary>
    [Fact]
    public void What_addr2line_finds_only_after_other_questions_is_found_only_then()
    {
        // Padding behind a function with a section attribute, and that function's last byte.
        var function = new ElfSymbolTable(ElfFile.Open(StockKernel.Vmlinux)).Find("do_int80_emulation").Single().Symbol;
        var padding = function.Value + function.Size + 1;
        AssertSame(StockKernel.Vmlinux, [padding]);
        AssertSame(StockKernel.Vmlinux, [function.Value, padding]);
    }

    [Theory]
    [InlineData("gcc", "-gdwarf-2 -O2")]
    [InlineData("gcc", "-gdwarf-3 -O1")]
    [InlineData("gcc", "-gdwarf-4 -O0")]
    [InlineData("gcc", "-gdwarf-4 -O2")]
    [InlineData("gcc", "-gdwarf-4 -O2 -ffunction-sections")]
    [InlineData("gcc", "-gdwarf-5 -O0")]
    [InlineData("gcc", "-gdwarf-5 -O1")]
    [InlineData("gcc", "-gdwarf-5 -O2")]
    [InlineData("gcc", "-gdwarf-5 -Os")]
    [InlineData("gcc", "-gdwarf-5 -O2 -gz=zlib")]
    [InlineData("gcc", "-gdwarf-5 -O2 -c")]
    [InlineData("gcc", "-gdwarf-4 -O2 -c")]
    [InlineData("gcc", "-gdwarf-5 -O2 -m32 -nostdlib -Wl,-e,main")]
    [InlineData("gcc", "-gdwarf-5 -O2 -m32 -c")]
    [InlineData("clang-14", "-gdwarf-4 -O0")]
    [InlineData("clang-14", "-gdwarf-4 -O2")]
    [InlineData("clang-14", "-gdwarf-5 -O0")]
    public void Programs_of_every_kind_are_named_as_addr2line_names_them(string compiler, string options)
    {
        Skip(compiler);
        using var folder = new ScratchFolder();
        AssertSame(CompiledProgram.Build(folder, compiler, options), null);
    }

    /// <summary>
    /// clang's DWARF 5 names range lists by index (DW_FORM_rnglistx), which binutils 2.40 does not read: it misses inlined calls. llvm-symbolizer does.
    /// </summary>
    [Theory]
    [InlineData("-gdwarf-5 -O1")]
    [InlineData("-gdwarf-5 -O2")]
    public void Range_lists_by_index_are_read_as_llvm_symbolizer_reads_them(string options)
    {
        Skip("clang-14");
        Skip("llvm-symbolizer-14");
        using var folder = new ScratchFolder();
        var path = CompiledProgram.Build(folder, "clang-14", options);
        var addresses = CodeOf(path);
        var expected = PeerProgram.Run("llvm-symbolizer-14", ["--obj=" + path], string.Join('\n', addresses.Select(a => $"0x{a:x}")))
            .Split("\n\n", StringSplitOptions.RemoveEmptyEntries);
        var symbolizer = new Symbolizer(ElfFile.Open(path));
        var compared = 0;
        for (var i = 0; i < addresses.Count; i++)
        {
            var lines = expected[i].Trim('\n').Split('\n');
            if (lines[0] == "??" || !lines[^1].Contains(folder.Path, StringComparison.Ordinal))
            {
                continue;
            }

            compared++;
            var theirs = Enumerable.Range(0, lines.Length / 2).Select(n => lines[2 * n] + " " + string.Join(':', Path.GetFileName(lines[(2 * n) + 1]).Split(':')[..2]));
            var mine = symbolizer.Symbolize(addresses[i]).Select(f => $"{f.Function} {Path.GetFileName(f.Source?.File)}:{f.Source?.Line}");
            Assert.Equal(theirs, mine);
        }

        Assert.InRange(compared, 300, int.MaxValue);
    }

    private static void Skip(string program) =>
        Assert.True(PeerProgram.IsInstalled(program), $"{program} is not installed: run the tests with ./test, which installs it");

    private static List<ulong> CodeOf(string path)
    {
        var file = ElfFile.Open(path);
        return file.Sections.Where(s => s.IsExecutable && s.HasContents)
            .SelectMany(s => Enumerable.Range(-1, (int)s.Size + 2).Select(i => s.Address + (ulong)i)).Where(a => a < ulong.MaxValue / 2).ToList();
    }

    private static void AssertSame(string path, List<ulong>? addresses)
    {
        addresses ??= CodeOf(path);
        var input = new StringBuilder();
        foreach (var address in addresses)
        {
            input.Append(CultureInfo.InvariantCulture, $"0x{address:x}\n");
        }

        var expected = PeerProgram.Run("addr2line", ["-a", "-f", "-i", "-e", path], input.ToString());
        var mine = new ByteBuffer();
        new Addr2Line(ElfFile.Open(path)).Append([.. addresses], mine);
        var actual = Encoding.UTF8.GetString(mine.Written);
        if (expected != actual)
        {
            var (theirs, ours) = (expected.Split("\n0x"), actual.Split("\n0x"));
            var different = theirs.Zip(ours).Where(p => p.First != p.Second).Take(5).Select(p => $"addr2line:\n0x{p.First}\nktrace:\n0x{p.Second}");
            Assert.Fail($"{path}:\n" + string.Join("\n\n", different));
        }
    }
}
