using System.Text;
using KTrace.Rsp;
using KTrace.Tests.Support;

namespace KTrace.Tests.Rsp;

public sealed class TargetDescriptionTests
{
    [Fact]
    public async Task Included_files_are_read_in_their_place_and_offsets_follow_the_numbers()
    {
        var description = await LoadAsync(
            FakeStub.TargetXml.Replace("</target>", """<feature name="late"><reg name="z" bitsize="8" regnum="2" group="system"/></feature></target>""", StringComparison.Ordinal),
            ("core.xml", """<feature name="core"><reg name="a" bitsize="64" type="int64"/><vector id="v" type="int8" count="16"/><reg name="b" bitsize="80" regnum="5"/><reg name="c" bitsize="32"/></feature>"""));
        Assert.Equal("i386:x86-64", description.Architecture);
        Assert.Equal(
            ["a 0 64 0 core", "z 2 8 8 late", "b 5 80 9 core", "c 6 32 19 core"],
            description.Layout.Registers.Select(r => $"{r.Name} {r.Number} {r.BitSize} {r.Offset} {r.Feature}"));
        Assert.Equal(23, description.Layout.ByteSize);
    }

    [Theory]
    [InlineData("")]
    [InlineData("<target>")]
    [InlineData("""<target><reg name="a"/></target>""")]
    [InlineData("""<target><reg bitsize="8"/></target>""")]
    [InlineData("""<target><reg name="a" bitsize="0"/></target>""")]
    [InlineData("""<target><reg name="a" bitsize="99999999999"/></target>""")]
    [InlineData("""<target><reg name="a" bitsize="8" regnum="-1"/></target>""")]
    [InlineData("""<target><reg name="a" bitsize="8" regnum="3"/><reg name="b" bitsize="8" regnum="3"/></target>""")]
    [InlineData("""<target><xi:include href="target.xml"/></target>""")]
    [InlineData("""<target><xi:include/></target>""")]
    [InlineData("""<!DOCTYPE t [<!ENTITY e "x">]><target><architecture>&e;</architecture></target>""")]
    [InlineData("""<!DOCTYPE t [<!ENTITY e SYSTEM "file:///etc/passwd">]><target><architecture>&e;</architecture></target>""")]
    public async Task Bad_descriptions_are_protocol_errors(string xml) =>
        Assert.Equal(RspErrorKind.Protocol, (await Assert.ThrowsAsync<RspException>(() => LoadAsync(xml))).Kind);

    [Fact]
    public async Task A_file_that_includes_itself_is_not_read_deeper_than_eight_times()
    {
        var reads = 0;
        await Assert.ThrowsAsync<RspException>(() => TargetDescription.LoadAsync((_, _) =>
        {
            reads++;
            return new("""<target><xi:include href="target.xml"/></target>"""u8.ToArray());
        }).AsTask());
        Assert.Equal(9, reads);
    }

    [Fact]
    public async Task A_file_that_includes_two_that_include_it_ends_in_bounded_time()
    {
        var e = await Assert.ThrowsAsync<RspException>(() => LoadAsync(
            """<target><xi:include href="a"/></target>""",
            ("a", """<x><xi:include href="b"/><xi:include href="b"/></x>"""),
            ("b", """<x><reg name="r" bitsize="8" regnum="1"/></x>""")));
        Assert.Contains("described twice", e.Message, StringComparison.Ordinal);
        await Assert.ThrowsAsync<RspException>(() => LoadAsync(
            """<target><xi:include href="a"/></target>""", ("a", string.Concat("<x>", string.Concat(Enumerable.Repeat("""<xi:include href="b"/>""", 1000)), "</x>")), ("b", "<x/>")));
    }

    [Fact]
    public async Task A_reply_to_g_is_decoded_and_chosen_registers_are_read_by_name()
    {
        var layout = (await LoadAsync(FakeStub.CoreXml)).Layout;
        var block = new RegisterBlock(layout);
        Assert.True(block.TryFill("8877665544332211" + "efcdab8967452301" + "46020000" + "00112233445566778899" is var hex ? Encoding.ASCII.GetBytes(hex) : []));
        var values = new ulong[4];
        var known = layout.Select("rip", "no-such", "eflags", "st0").Read(block, values);
        Assert.Equal(0b0101UL, known);
        Assert.Equal([0x0123456789abcdef, 0, 0x246, 0], values);
        Assert.True(layout.TryFind("st0", out var st0));
        Assert.Equal("00112233445566778899", Convert.ToHexString(block.BytesOf(st0)));
    }

    [Fact]
    public async Task Registers_that_the_stub_does_not_have_are_unknown_and_not_zero()
    {
        var layout = (await LoadAsync(FakeStub.CoreXml)).Layout;
        var block = new RegisterBlock(layout);
        var selection = layout.Select("rax", "rip", "eflags");
        var values = new ulong[3];
        Assert.Equal(0UL, selection.Read(block, values));
        Assert.True(block.TryFill(Encoding.ASCII.GetBytes("8877665544332211" + new string('x', 16) + "46020000")));
        Assert.Equal(0b101UL, selection.Read(block, values));
        Assert.Equal([0x1122334455667788, 0, 0x246], values);

        // p fills one register and leaves what is known of the others.
        Assert.True(layout.TryFind("rip", out var rip));
        Assert.True(block.TryFill(rip, "efcdab8967452301"u8));
        Assert.Equal(0b111UL, selection.Read(block, values));
        Assert.True(block.TryFill("8877665544332211"u8));
        Assert.Equal(0b001UL, selection.Read(block, values));
    }

    [Theory]
    [InlineData("8")]
    [InlineData("8g")]
    [InlineData("x0")]
    public async Task A_malformed_reply_to_g_is_refused(string hex)
    {
        var block = new RegisterBlock((await LoadAsync(FakeStub.CoreXml)).Layout);
        Assert.False(block.TryFill(Encoding.ASCII.GetBytes(hex)));
        Assert.False(block.TryFill(new byte[(block.Layout.ByteSize + 1) * 2]));
    }

    internal static async Task<TargetDescription> LoadAsync(string target, params (string Name, string Text)[] files) =>
        await TargetDescription.LoadAsync((file, _) => new(Encoding.UTF8.GetBytes(
            file == "target.xml" ? target : files.FirstOrDefault(f => f.Name == file).Text ?? "")));
}
