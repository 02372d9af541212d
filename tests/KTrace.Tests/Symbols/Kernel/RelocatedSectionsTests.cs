using KTrace.Symbols;
using KTrace.Symbols.Elf;
using KTrace.Symbols.Kernel;
using KTrace.Tests.Support;

namespace KTrace.Tests.Symbols.Kernel;

public sealed class RelocatedSectionsTests : IDisposable
{
    private readonly ScratchFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(1, 8, 0xffffffffc0001014UL)] // R_X86_64_64: S + A
    [InlineData(10, 4, 0xc0001014UL)] // 32
    [InlineData(11, 4, 0xc0001014UL)] // 32S
    [InlineData(12, 2, 0x1014UL)] // 16
    [InlineData(14, 1, 0x14UL)] // 8
    [InlineData(2, 4, 0xc0001010UL)] // PC32: S + A - P
    [InlineData(24, 8, 0xffffffffc0001010UL)] // PC64
    [InlineData(0, 4, 0xeeeeeeeeUL)] // NONE
    public void Each_relocation_of_x86_64_writes_what_the_psABI_says(uint type, int width, ulong expected)
    {
        var (elf, _) = Relocatable(62, is64: true, w => w.U64(4).U64((1UL << 32) | type).U64(0x10));
        var data = Open(elf).GetSection(".debug_info").Span.Slice(4, width);
        ulong value = 0;
        for (var i = 0; i < width; i++)
        {
            value |= (ulong)data[i] << (8 * i);
        }

        Assert.Equal(expected, value);
    }

    [Theory]
    [InlineData(1, 0xc0001004UL + 5)] // R_386_32: S + what stands there
    [InlineData(2, 0xc0001004UL + 5 - 4)] // PC32
    public void Relocations_of_i386_add_to_what_stands_there(uint type, ulong expected)
    {
        var (elf, _) = Relocatable(3, is64: false, w => w.U32(4).U32((1 << 8) | type));
        Assert.Equal((uint)expected, BitConverter.ToUInt32(Open(elf).GetSection(".debug_info").Span.Slice(4, 4)));
    }

    [Fact]
    public void A_place_of_an_allocated_section_counts_where_it_lies()
    {
        var elf = new ElfBuilder(type: 1);
        elf.AddCode(".text", 0, 0x20);
        var orc = elf.Add(".orc_unwind_ip", new byte[8], flags: ElfBuilder.Alloc);
        elf.Add(".rela", new ByteWriter().U64(4).U64((1UL << 32) | 2).U64(0).ToArray(), 4, link: 4, info: (uint)orc);
        elf.AddSymbol("f", 0x10);
        var sections = new RelocatedSections(ElfFile.Open(elf.Write(_folder)), new Dictionary<string, ulong> { [".text"] = 0x5000, [".orc_unwind_ip"] = 0x4000 });
        Assert.Equal(0x5010 - 0x4004, BitConverter.ToInt32(sections.GetSection(".orc_unwind_ip").Span[4..]));
    }

    [Fact]
    public void Symbols_get_the_addresses_of_their_sections()
    {
        var (elf, _) = Relocatable(62, is64: true, _ => { });
        elf.AddSymbol("absolute", 0x77, section: 0xfff1, type: 0);
        Assert.Equal([0xffffffffc0001004UL, 0x77UL], Open(elf).Symbols.All.Select(s => s.Value));
    }

    [Theory]
    [InlineData(42, 4, 1)] // a type that debug sections do not have
    [InlineData(1, 0x1000, 1)] // outside the section
    [InlineData(1, -1, 1)]
    [InlineData(1, 12, 1)] // half outside
    [InlineData(1, 4, 99)] // no such symbol
    public void A_relocation_that_cannot_be_applied_names_its_type_or_place(uint type, long offset, ulong symbol)
    {
        var (elf, _) = Relocatable(62, is64: true, w => w.U64((ulong)offset).U64((symbol << 32) | type).U64(0));
        var error = Assert.Throws<MalformedFileException>(() => Open(elf).GetSection(".debug_info"));
        Assert.Equal(".rela.debug_info", error.Section);
        if (type == 42)
        {
            Assert.Contains("type 42", error.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Code_that_a_debug_file_does_not_hold_still_takes_its_place()
    {
        var elf = new ElfBuilder(type: 1);
        elf.Add(".text", [], 8, ElfBuilder.Alloc | ElfBuilder.Exec, size: 0x40);
        elf.Add(".init.text", [], 8, ElfBuilder.Alloc | ElfBuilder.Exec, size: 0x20);
        elf.AddSymbol("run", 0x10, 8, section: 1).AddSymbol("init", 0x8, 8, section: 2);
        var file = ElfFile.Open(elf.Write(_folder));
        var sections = new RelocatedSections(file, RelocatedSections.OneAfterTheOther(file));
        Assert.True(sections.Symbols.TryFindNearest(0x4c, out var symbol));
        Assert.Equal(("init", 0x48UL), (symbol.Name, symbol.Value));
    }

    private static (ElfBuilder Elf, int Target) Relocatable(ushort machine, bool is64, Action<ByteWriter> relocation)
    {
        var elf = new ElfBuilder(is64, type: 1, machine: machine);
        elf.AddCode(".text", 0, 0x20);
        var target = elf.Add(".debug_info", [0, 0, 0, 0, .. is64 ? new byte[] { 0xee, 0xee, 0xee, 0xee } : [5, 0, 0, 0], 0xee, 0xee, 0xee, 0xee]);
        var writer = new ByteWriter();
        relocation(writer);
        // The symbol table follows.
        elf.Add(is64 ? ".rela.debug_info" : ".rel.debug_info", writer.ToArray(), is64 ? 4u : 9u, link: 4, info: (uint)target);
        elf.AddSymbol("f", 4, 8);
        return (elf, target);
    }

    private RelocatedSections Open(ElfBuilder elf) =>
        new(ElfFile.Open(elf.Write(_folder)), new Dictionary<string, ulong> { [".text"] = 0xffffffffc0001000 });
}
