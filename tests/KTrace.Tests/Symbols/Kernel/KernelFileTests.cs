using System.Text;
using KTrace.Symbols;
using KTrace.Symbols.Elf;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Unwind;
using KTrace.Tests.Support;

namespace KTrace.Tests.Symbols.Kernel;

/// <summary>Every way in which a kernel, a module or a program is stored gives the same names as the whole file.</summary>
public sealed class KernelFileTests : IDisposable
{
    private readonly ScratchFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("zlib", "-gdwarf-5 -O2")]
    [InlineData("zlib-gnu", "-gdwarf-4 -O2")]
    [InlineData("zstd", "-gdwarf-5 -O2")]
    [InlineData("zlib", "-gdwarf-4 -O2 -m32")]
    public void Compressed_debug_sections_say_what_the_plain_ones_say(string format, string options)
    {
        var program = CompiledProgram.Build(_folder, "gcc", options);
        var compressed = _folder.File("compressed");
        PeerProgram.Run("objcopy", ["--compress-debug-sections=" + format, program, compressed]);
        var file = ElfFile.Open(compressed);
        Assert.Contains(file.Sections, s => s.Name.StartsWith(format == "zlib-gnu" ? ".zdebug_" : ".debug_", StringComparison.Ordinal) && (format == "zlib-gnu" || (s.Flags & ElfSection.FlagCompressed) != 0));
        SameAsAddr2Line(program, file);
    }

    [Theory]
    [InlineData("objcopy")]
    [InlineData("eu-strip")]
    public void A_file_split_in_two_is_found_by_its_link_and_read_as_one(string tool)
    {
        var (program, stripped) = Split(tool, "program.debug");
        Assert.False(ElfFile.Open(stripped).FindSection(".debug_info") is { HasContents: true });
        var opened = ObjectFile.Open(stripped, new ObjectFileOptions(DebugDirectories: []));
        Assert.Empty(opened.Lacks);
        SameAsAddr2Line(program, opened.File);
        // Code and names come together again.
        Assert.Equal(ElfFile.Open(program).GetSection(".text").Span.ToArray(), opened.File.GetSection(".text").Span.ToArray());
    }

    [Fact]
    public void The_debug_file_may_lie_in_a_subfolder_or_below_a_debug_folder()
    {
        var (program, stripped) = Split("objcopy", "program.debug");
        foreach (var place in (string[])[".debug", "system/" + _folder.Path.TrimStart('/'), "system"])
        {
            Directory.CreateDirectory(_folder.File(place));
            File.Move(_folder.File("program.debug"), _folder.File(place + "/program.debug"));
            var opened = ObjectFile.Open(stripped, new ObjectFileOptions(DebugDirectories: [_folder.File("system")]));
            SameAsAddr2Line(program, opened.File);
            File.Move(_folder.File(place + "/program.debug"), _folder.File("program.debug"));
        }
    }

    [Fact]
    public void The_debug_file_is_found_by_build_id()
    {
        var (program, stripped) = Split("objcopy", "program.debug");
        var id = Convert.ToHexStringLower(ElfFile.Open(program).BuildId.AsSpan());
        Directory.CreateDirectory(_folder.File("system/.build-id/" + id[..2]));
        File.Move(_folder.File("program.debug"), _folder.File($"system/.build-id/{id[..2]}/{id[2..]}.debug"));
        SameAsAddr2Line(program, ObjectFile.Open(stripped, new ObjectFileOptions(DebugDirectories: [_folder.File("system")])).File);
    }

    [Fact]
    public void A_debug_file_of_another_build_is_named_and_not_used()
    {
        var (_, stripped) = Split("objcopy", "program.debug", "-Wl,--build-id=none");
        using (var file = File.OpenWrite(_folder.File("program.debug")))
        {
            file.Seek(0, SeekOrigin.End);
            file.WriteByte(0);
        }

        var opened = ObjectFile.Open(stripped, new ObjectFileOptions(DebugDirectories: []));
        Assert.Contains(opened.Lacks, l => l.Cost.Contains("CRC 0x", StringComparison.Ordinal) && l.Cost.Contains("program.debug", StringComparison.Ordinal));
        Assert.Contains(opened.Lacks, l => l.What == "no DWARF");
        Assert.Null(opened.File.FindSection(".debug_info"));
    }

    [Theory]
    [InlineData("", 0u)]
    [InlineData("123456789", 0xcbf43926u)]
    [InlineData("The quick brown fox jumps over the lazy dog", 0x414fa339u)]
    public void The_checksum_is_that_of_gdb(string text, uint crc) => Assert.Equal(crc, Crc32.Of(Encoding.ASCII.GetBytes(text)));

    [Theory]
    [InlineData("xz")]
    [InlineData("zstd")]
    [InlineData("gzip")]
    public void A_compressed_module_is_read_like_the_module(string program)
    {
        var module = StockKernel.DebugModule("e1000e");
        var copy = _folder.File("e1000e.ko" + program switch { "xz" => ".xz", "zstd" => ".zst", _ => ".gz" });
        PeerProgram.Run("sh", ["-c", $"{program} -c '{module}' > '{copy}'"]);
        var file = ObjectFile.OpenAsStored(copy);
        Assert.Equal(copy, file.Path);
        var (whole, mine) = (ElfFile.Open(module), new Symbolizer(new RelocatedSections(file, RelocatedSections.OneAfterTheOther(file)), "e1000e"));
        var theirs = new Symbolizer(new RelocatedSections(whole, RelocatedSections.OneAfterTheOther(whole)), "e1000e");
        foreach (var address in Enumerable.Range(0, 200).Select(i => (ulong)i * 97))
        {
            Assert.Equal(theirs.Symbolize(address), mine.Symbolize(address));
        }
    }

    [Fact]
    public void A_module_with_compressed_debug_sections_is_relocated_too()
    {
        var module = StockKernel.DebugModule("e1000e");
        var copy = _folder.File("e1000e.ko");
        PeerProgram.Run("objcopy", ["--compress-debug-sections=zlib", module, copy]);
        var (whole, compressed) = (ElfFile.Open(module), ElfFile.Open(copy));
        var theirs = new Symbolizer(new RelocatedSections(whole, RelocatedSections.OneAfterTheOther(whole)));
        var mine = new Symbolizer(new RelocatedSections(compressed, RelocatedSections.OneAfterTheOther(compressed)));
        foreach (var address in Enumerable.Range(0, 200).Select(i => (ulong)i * 131))
        {
            Assert.Equal(theirs.Symbolize(address), mine.Symbolize(address));
        }
    }

    [Fact]
    public void A_bzImage_and_its_System_map_name_frames_and_unwind_by_orc()
    {
        var whole = KernelImage.Open(StockKernel.Vmlinux);
        var image = KernelImage.Open(StockKernel.Vmlinuz, new ObjectFileOptions(DebugDirectories: []));
        Assert.Equal((whole.Release, whole.Banner), (image.Release, image.Banner));
        Assert.Equal(whole.BuildId.ToArray(), image.BuildId.ToArray());
        Assert.Equal(whole.Fingerprint.Address, image.Fingerprint.Address);
        Assert.Equal("no DWARF", Assert.Single(image.Lacks).What);
        foreach (var name in (string[])["schedule", "request_threaded_irq", "e820__range_add", "start_kernel", "jiffies_64"])
        {
            Assert.True(whole.TryFindSymbol(name, out var expected), name);
            Assert.True(image.TryFindSymbol(name, out var found), name);
            Assert.Equal(expected.Value, found.Value);
            if (expected.IsFunction)
            {
                var frame = Assert.Single(image.Symbolizer.Symbolize(expected.Value + 4));
                Assert.Equal((name, 4ul, null), (frame.Function, frame.Offset, frame.Source));
            }
        }

        Assert.NotNull(image.ForUnwinding(0).Orc);
        Assert.True(image.Layouts.TryGetSize("task_struct", out _));
    }

    [Fact]
    public void A_System_map_alone_names_addresses_and_says_what_it_costs()
    {
        var map = Path.Combine(Path.GetDirectoryName(StockKernel.Vmlinuz)!, "System.map-" + StockKernel.Release);
        var image = KernelImage.Open(map);
        Assert.Equal("x86-64", image.Architecture.Name);
        Assert.True(image.TryFindSymbol("schedule", out var symbol));
        var frame = Assert.Single(image.Symbolizer.Symbolize(symbol.Value + 7));
        Assert.Equal(("schedule", 7ul), (frame.Function, frame.Offset));
        var lacks = string.Join("\n", image.Lacks);
        Assert.Contains("symbols only", lacks);
        Assert.Contains("no unwind tables", lacks);
        Assert.Contains("no types", lacks);
    }

    [Fact]
    public void Symbols_of_a_running_kernel_are_brought_back_to_where_it_was_linked_and_its_modules_left_out()
    {
        var map = Path.Combine(Path.GetDirectoryName(StockKernel.Vmlinuz)!, "System.map-" + StockKernel.Release);
        const ulong slide = 0x12600000;
        var kallsyms = _folder.File("kallsyms");
        File.WriteAllLines(kallsyms, File.ReadLines(map).Select(l => Moved(l, slide)).Append("ffffffffc0201000 t e1000_open\t[e1000e]"));
        var image = KernelImage.Open(StockKernel.Vmlinuz, new ObjectFileOptions(kallsyms, []));
        Assert.True(KernelImage.Open(StockKernel.Vmlinux).TryFindSymbol("schedule", out var expected));
        Assert.True(image.TryFindSymbol("schedule", out var found));
        Assert.Equal(expected.Value, found.Value);
        Assert.False(image.TryFindSymbol("e1000_open", out _));
    }

    [Theory]
    [InlineData("0000000000000000 T _text\n0000000000000000 T schedule\n", "kptr_restrict")]
    [InlineData("ffffffff81000000 T _text\nnonsense\n", "a line that is not")]
    [InlineData("ffffffff81000000 T foo\n", "not the symbols of a kernel")]
    public void Symbols_that_are_of_no_use_are_refused_with_the_reason(string text, string message)
    {
        File.WriteAllText(_folder.File("map"), text);
        Assert.Contains(message, Assert.Throws<MalformedFileException>(() => KernelImage.Open(_folder.File("map"))).Message);
    }

    [Fact]
    public void A_System_map_of_another_build_is_named_and_not_used()
    {
        File.WriteAllText(_folder.File("map"), "ffffffff82000000 T _text\nffffffff83000000 T _etext\n");
        var e = Assert.Throws<MalformedFileException>(() => KernelImage.Open(StockKernel.Vmlinuz, new ObjectFileOptions(_folder.File("map"), [])));
        Assert.Contains("no symbol table", e.Message);
        Assert.Contains(ObjectFile.Open(StockKernel.Vmlinuz, new ObjectFileOptions(_folder.File("map"), [])).Lacks, l => l.What == "symbols do not fit");
    }

    [Fact]
    public void A_vmlinux_stripped_of_dwarf_keeps_names_types_and_orc()
    {
        var stripped = _folder.File("vmlinux");
        PeerProgram.Run("objcopy", ["--strip-debug", StockKernel.Vmlinux, stripped]);
        var image = KernelImage.Open(stripped, new ObjectFileOptions(DebugDirectories: []));
        Assert.Equal("no DWARF", Assert.Single(image.Lacks).What);
        Assert.True(image.TryFindSymbol("schedule", out var symbol));
        Assert.Equal("schedule", image.Symbolizer.Symbolize(symbol.Value)[0].Function);
        Assert.True(image.Layouts.TryGetSize("task_struct", out _));
    }

    [Fact]
    public void Split_dwarf_is_said_by_name()
    {
        var program = CompiledProgram.Build(_folder, "gcc", "-gdwarf-5 -gsplit-dwarf -O1");
        Assert.Contains(ObjectFile.Open(program).Lacks, l => l.What.Contains(".dwo", StringComparison.Ordinal));
    }

    [Fact]
    public void The_stock_kernel_lacks_nothing() => Assert.Empty(KernelImage.Open(StockKernel.Vmlinux).Lacks);

    [Fact]
    public void Damaged_files_are_refused_with_the_declared_exception_only()
    {
        var (_, stripped) = Split("objcopy", "program.debug");
        var compressed = _folder.File("compressed");
        PeerProgram.Run("objcopy", ["--compress-debug-sections=zlib", _folder.File("program"), compressed]);
        var map = string.Join('\n', File.ReadLines(Path.Combine(Path.GetDirectoryName(StockKernel.Vmlinuz)!, "System.map-" + StockKernel.Release)).Where((_, i) => i % 400 == 0 || i < 4)) + "\nffffffff83000000 T _etext\n";
        byte[][] seeds = [File.ReadAllBytes(stripped), File.ReadAllBytes(compressed), Encoding.ASCII.GetBytes(map), SmallBzImage()];
        var random = new Random(40);
        var outcomes = new int[2];
        for (var i = 0; i < 2400; i++)
        {
            var path = _folder.File("damaged");
            File.WriteAllBytes(path, Mutation.OfBytes((byte[])seeds[i % seeds.Length].Clone(), random));
            try
            {
                var opened = ObjectFile.Open(path, new ObjectFileOptions(DebugDirectories: []));
                foreach (var section in opened.File.Sections.Where(s => s.Name.Contains("debug", StringComparison.Ordinal)))
                {
                    _ = section.Data.Length;
                }

                _ = new Symbolizer(opened.File).Symbolize(0x401000);
                outcomes[0]++;
            }
            catch (MalformedFileException)
            {
                outcomes[1]++;
            }

            File.Delete(path);
        }

        Assert.All(outcomes, o => Assert.True(o > 50, string.Join(" ", outcomes)));
    }

    /// <summary>The header of a bzImage around a small ELF file, compressed by gzip.</summary>
    private byte[] SmallBzImage()
    {
        var elf = new ElfBuilder();
        elf.AddCode(".text", 0xffffffff81000000, 64);
        elf.AddSymbol("_text", 0xffffffff81000000, 64);
        using var payload = new MemoryStream();
        using (var gzip = new System.IO.Compression.GZipStream(payload, System.IO.Compression.CompressionLevel.Optimal, leaveOpen: true))
        {
            gzip.Write(elf.Build());
        }

        var header = new byte[1024];
        header[0x1f1] = 1;
        (header[0x1fe], header[0x1ff]) = (0x55, 0xaa);
        "HdrS"u8.CopyTo(header.AsSpan(0x202));
        (header[0x206], header[0x207]) = (0x0f, 0x02);
        BitConverter.GetBytes((int)payload.Length).CopyTo(header, 0x24c);
        byte[] image = [.. header, .. payload.ToArray()];
        File.WriteAllBytes(_folder.File("bzImage"), image);
        Assert.Equal("_text", ObjectFile.OpenAsStored(_folder.File("bzImage")) is var file ? new ElfSymbolTable(file).All.Single().Name : "");
        return image;
    }

    private (string Program, string Stripped) Split(string tool, string debugName, string options = "")
    {
        var program = CompiledProgram.Build(_folder, "gcc", "-gdwarf-5 -O2 -no-pie " + options);
        var (stripped, debug) = (_folder.File("stripped"), _folder.File(debugName));
        if (tool == "eu-strip")
        {
            PeerProgram.Run("eu-strip", ["-f", debug, "-o", stripped, program]);
        }
        else
        {
            PeerProgram.Run("objcopy", ["--only-keep-debug", program, debug]);
            PeerProgram.Run("objcopy", ["--strip-all", "--add-gnu-debuglink=" + debug, program, stripped]);
        }

        return (program, stripped);
    }

    private static string Moved(string line, ulong slide)
    {
        var address = Convert.ToUInt64(line[..16], 16);
        return address >= 0xffffffff80000000 ? (address + slide).ToString("x16", System.Globalization.CultureInfo.InvariantCulture) + line[16..] : line;
    }

    /// <summary>Every address of the program's code, as binutils names it in the file before anything was done to it.</summary>
    private static void SameAsAddr2Line(string whole, ElfFile file)
    {
        var text = ElfFile.Open(whole).FindSection(".text")!;
        var addresses = Enumerable.Range(0, (int)text.Size).Select(i => text.Address + (ulong)i).ToArray();
        var output = new MemoryStream();
        var buffer = new KTrace.Symbols.Dwarf.ByteBuffer(output);
        new Addr2Line(file).Append(addresses, buffer);
        buffer.Flush();
        var expected = PeerProgram.Run("addr2line", ["-a", "-f", "-i", "-e", whole], string.Join('\n', addresses.Select(a => a.ToString("x", System.Globalization.CultureInfo.InvariantCulture))) + "\n");
        Assert.Equal(expected, Encoding.UTF8.GetString(output.ToArray()));
    }
}
