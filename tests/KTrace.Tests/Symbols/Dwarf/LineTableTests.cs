using KTrace.Symbols;
using KTrace.Symbols.Dwarf;
using KTrace.Tests.Support;

namespace KTrace.Tests.Symbols.Dwarf;

public sealed class LineTableTests
{
    [Theory]
    [InlineData(2, false)]
    [InlineData(3, true)]
    [InlineData(4, false)]
    [InlineData(5, false)]
    [InlineData(5, true)]
    public void Each_address_belongs_to_the_last_row_at_or_before_it(int version, bool is64)
    {
        var lines = Load(new LineProgramBuilder { Version = version, Is64 = is64 }.SetAddress(0x1000).Row(0, 9).Row(4, 2).Row(4, -3).Raw(2, 8).EndSequence());
        Assert.Equal([0, 10, 10, 12, 12, 9, 9, 0], new ulong[] { 0xfff, 0x1000, 0x1003, 0x1004, 0x1007, 0x1008, 0x100f, 0x1010 }.Select(a => LineAt(lines, a)));
    }

    [Fact]
    public void Every_standard_and_extended_opcode_moves_the_machine_as_the_specification_says()
    {
        var lines = Load(new LineProgramBuilder()
            .SetAddress(0x1000)
            .Raw(13 + 5 + (14 * 3) + 1) // special: address + 3, line + 1
            .Raw(8) // const_add_pc: (255 - 13) / 14 = 17
            .Raw(9, 0x34, 0x02) // fixed_advance_pc 0x234
            .Raw(4, 2, 5, 7, 6, 7, 10, 11, 12, 3) // set_file 2, set_column, negate_stmt, basic_block, prologue_end, epilogue_begin, set_isa
            .Extended(4, w => w.Uleb(300)) // discriminator
            .Extended(0x80, w => w.U32(0xdeadbeef)) // an opcode of a vendor
            .Row(0, 98)
            .Row(1, 1)
            .EndSequence());
        Assert.True(lines.TryFind(0x1003, out var first));
        Assert.Equal((2, LineProgramHeader.DefaultFile, 0), (first.Line, first.File, first.Discriminator));
        Assert.True(lines.TryFind(0x1000 + 3 + 17 + 0x234, out var second));
        Assert.Equal((100, 2, 300), (second.Line, second.File, second.Discriminator));
    }

    [Fact]
    public void A_discriminator_is_of_one_row_only()
    {
        var lines = Load(new LineProgramBuilder().SetAddress(0x1000).Extended(4, w => w.Uleb(3)).Row(0, 1).Row(4, 1).Raw(2, 4).EndSequence());
        lines.TryFind(0x1000, out var with);
        lines.TryFind(0x1004, out var without);
        Assert.Equal((3, 0), (with.Discriminator, without.Discriminator));
    }

    [Fact]
    public void Of_rows_at_one_address_the_last_counts()
    {
        var lines = Load(new LineProgramBuilder().SetAddress(0x1000).Row(0, 1).Row(0, 1).Row(0, 1).Raw(2, 4).EndSequence());
        Assert.Equal(4, LineAt(lines, 0x1000));
    }

    [Fact]
    public void Operations_of_VLIW_instructions_count_into_the_address()
    {
        var lines = Load(new LineProgramBuilder { Version = 4, MinimumInstructionLength = 8, MaximumOperations = 2 }
            .SetAddress(0x1000).Row(0, 9).Row(3, 1).Row(1, 1).Raw(2, 2).EndSequence());
        // Three operations are one instruction and a half.
        Assert.Equal([10, 11, 12, 0], new ulong[] { 0x1007, 0x1008, 0x1010, 0x1018 }.Select(a => LineAt(lines, a)));
    }

    [Fact]
    public void Overlapping_sequences_are_trimmed_and_nested_ones_dropped_as_binutils_does()
    {
        var lines = Load(new LineProgramBuilder()
            .SetAddress(0x1010).Row(0, 30).Raw(2, 0x20).EndSequence() // 0x1010-0x1030: begins inside the next one
            .SetAddress(0x1000).Row(0, 10).Raw(2, 0x20).EndSequence() // 0x1000-0x1020
            .SetAddress(0x1004).Row(0, 50).Raw(2, 4).EndSequence() // nested
            .SetAddress(0x1000).Row(0, 70).Raw(2, 8).EndSequence()); // same start, shorter
        Assert.Equal([11, 11, 11, 31, 0], new ulong[] { 0x1000, 0x1004, 0x101f, 0x1020, 0x1030 }.Select(a => LineAt(lines, a)));
    }

    [Fact]
    public void Rows_out_of_order_are_sorted_in()
    {
        var lines = Load(new LineProgramBuilder()
            .SetAddress(0x1000).Row(0, 1).SetAddress(0x1020).Row(0, 1).SetAddress(0x1010).Row(0, 1).Row(0, 1) // the earlier of two late ones counts
            .SetAddress(0x1020).Row(0, 1) // the last in order is replaced
            .SetAddress(0x1000).Row(0, 1) // in order wins over late
            .SetAddress(0x1030).EndSequence());
        Assert.Equal([2, 4, 6, 6, 0], new ulong[] { 0x1000, 0x1010, 0x1020, 0x102f, 0x1030 }.Select(a => LineAt(lines, a)));
    }

    [Fact]
    public void A_sequence_without_its_end_says_nothing_of_its_last_row()
    {
        var lines = Load(new LineProgramBuilder().SetAddress(0x1000).Row(0, 1).Row(4, 1));
        Assert.Equal([2, 0], new ulong[] { 0x1003, 0x1004 }.Select(a => LineAt(lines, a)));
    }

    [Theory]
    [InlineData(5, 2, "/inc/b.h", "/inc/b.h")]
    [InlineData(5, 3, "/comp/rel/c.h", "rel/c.h")]
    [InlineData(5, 4, "/abs/d.h", "/abs/d.h")]
    [InlineData(5, 0, "/comp/a.c", "a.c")]
    [InlineData(5, LineProgramHeader.DefaultFile, "/comp/a.c", "main.c")]
    [InlineData(5, 99, "<unknown>", "<unknown>")]
    [InlineData(4, 3, "/comp/rel/c.h", "rel/c.h")]
    [InlineData(4, 1, "/comp/main.c", "main.c")]
    [InlineData(4, 0, "<unknown>", "<unknown>")]
    public void Paths_are_put_together_as_addr2line_does_and_shortened_for_people(int version, int file, string full, string shortForm)
    {
        var program = new LineProgramBuilder { Version = version, HasMd5 = version == 5 };
        program.Directories.AddRange(["/inc", "rel"]);
        program.Files.Clear();
        program.Files.AddRange([("a.c", 0), ("main.c", 0), ("b.h", 1), ("c.h", 2), ("/abs/d.h", 2)]);
        var header = Load(program).Header;
        Assert.Equal(full, header.Path(file, shortForm: false));
        Assert.Equal(shortForm, header.Path(file, shortForm: true));
    }

    [Fact]
    public void The_compilation_directory_is_taken_off_where_the_table_repeats_it()
    {
        var program = new LineProgramBuilder();
        program.Directories.Add("/comp/kernel/irq");
        program.Files.Add(("chip.c", 1));
        var header = Load(program).Header;
        Assert.Equal(("/comp/kernel/irq/chip.c", "kernel/irq/chip.c"), (header.Path(3, shortForm: false), header.Path(3, shortForm: true)));
    }

    [Fact]
    public void Files_defined_by_the_program_join_the_table()
    {
        var lines = Load(new LineProgramBuilder { Version = 4 }
            .Extended(3, w => w.Text("late.c").Uleb(0).Uleb(0).Uleb(0)).SetAddress(0x1000).Raw(4, 3).Row(0, 1).Raw(2, 1).EndSequence());
        lines.TryFind(0x1000, out var row);
        Assert.Equal("late.c", lines.Header.Path(row.File, shortForm: true));
    }

    [Theory]
    [InlineData(14, 0)] // line range 0
    [InlineData(4, 9)] // version 9
    public void A_header_that_cannot_be_one_is_malformed(int at, byte value)
    {
        var program = new LineProgramBuilder { Version = 4 }.SetAddress(0x1000).Row(0, 1).EndSequence().Build();
        program[at] = value;
        Assert.Equal(".debug_line", Assert.Throws<MalformedFileException>(() => Load(program)).Section);
    }

    private static int LineAt(LineTable lines, ulong address) => lines.TryFind(address, out var row) ? row.Line : 0;

    private static LineTable Load(LineProgramBuilder program) => Load(program.Build());

    private static LineTable Load(byte[] program)
    {
        var builder = new DwarfBuilder();
        builder.AddUnit(new DieSketch(DwTag.CompileUnit).With(DwAt.StmtList, DwForm.SecOffset, 0).With(DwAt.CompDir, DwForm.String, "/comp"));
        var source = builder.Build();
        source[".debug_line"] = program;
        var unit = new Unit(new DwarfSections(source));
        unit.Load(0);
        var lines = new LineTable();
        lines.Load(unit);
        return lines;
    }
}
