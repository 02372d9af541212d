using System.Text;
using KTrace.Debugger;
using KTrace.Debugger.Memory;
using KTrace.Debugger.Recording;
using KTrace.Debugger.Tracepoints;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Unwind;

namespace KTrace.Tests.Debugger;

public sealed class SmallPartsTests
{
    [Theory]
    [InlineData("schedule", null, "schedule", 0ul)]
    [InlineData(" schedule ", null, "schedule", 0ul)]
    [InlineData("schedule+0x1f", null, "schedule", 0x1ful)]
    [InlineData("schedule+16", null, "schedule", 16ul)]
    [InlineData("kernel/irq/manage.c:request_threaded_irq", "kernel/irq/manage.c", "request_threaded_irq", 0ul)]
    [InlineData("e1000e:e1000e_open+0x5", "e1000e", "e1000e_open", 5ul)]
    [InlineData("0xffffffff81000000", null, null, 0xffffffff81000000ul)]
    [InlineData("0XFF", null, null, 0xfful)]
    public void A_tracepoint_is_a_scope_a_symbol_and_an_offset(string text, string? scope, string? symbol, ulong offset)
    {
        var request = TracepointRequest.Parse(text);
        Assert.Equal((scope, symbol, offset), (request.Scope, request.Symbol, request.Offset));
        Assert.Equal(text.Trim(), request.Text);
    }

    [Theory]
    [InlineData("")]
    [InlineData("  ")]
    [InlineData(":")]
    [InlineData("a:")]
    [InlineData(":a")]
    [InlineData("+1")]
    [InlineData("a+")]
    [InlineData("a+0x")]
    [InlineData("a+-1")]
    [InlineData("a+0x10000000000000000")]
    [InlineData("schedule if x ==")]
    [InlineData("schedule when x")]
    [InlineData("a\u001b[2J")]
    [InlineData("a\nb")]
    public void Anything_else_is_refused(string text) => Assert.Throws<TargetException>(() => TracepointRequest.Parse(text));

    [Fact]
    public void A_tracepoint_of_endless_length_is_refused() => Assert.Throws<TargetException>(() => TracepointRequest.Parse(new string('a', 5000)));

    [Theory]
    [InlineData("e1000e", false)]
    [InlineData("e1000e.ko", false)]
    [InlineData("manage.c", true)]
    [InlineData("kernel/irq/manage.c", true)]
    [InlineData("entry_64.S", true)]
    public void A_scope_with_a_dot_is_a_source_file_unless_it_is_a_ko(string scope, bool isFile) =>
        Assert.Equal(isFile, TracepointRequest.Parse(scope + ":x").ScopeIsSourceFile);

    [Fact]
    public void Text_on_the_console_is_found_wherever_its_pieces_end()
    {
        var text = Encoding.UTF8.GetBytes("ünïx login: login:");
        const string wanted = "login:";
        for (var a = 0; a <= text.Length; a++)
        {
            for (var b = a; b <= text.Length; b++)
            {
                var matcher = new ConsoleMatcher(wanted);
                bool[] found = [matcher.Feed(text.AsSpan(0, a)), matcher.Feed(text.AsSpan(a, b - a)), matcher.Feed(text.AsSpan(b))];
                Assert.Contains(true, found);
                // Found at once when it is there, not with the next piece.
                Assert.Equal(Encoding.UTF8.GetString(text, 0, a).Contains(wanted, StringComparison.Ordinal), found[0]);
            }
        }
    }

    [Fact]
    public void Text_that_is_not_there_is_not_made_up_of_pieces()
    {
        var matcher = new ConsoleMatcher("abab");
        Assert.False(matcher.Feed("aba"u8));
        Assert.False(matcher.Feed("cab"u8));
        Assert.False(matcher.Feed([]));
        Assert.True(matcher.Feed("ab"u8));
    }

    [Fact]
    public void Fetched_memory_tells_what_was_not_asked_from_what_cannot_be_read()
    {
        var memory = new FetchedMemory();
        memory.Add(0x1000, new byte[] { 1, 2, 3, 4 });
        memory.Add(0x1004, new byte[] { 5, 6, 7, 8 });
        memory.AddUnreadable(0x2000, 0x1000);
        memory.Add(ulong.MaxValue - 3, new byte[] { 9, 9, 9, 9 });

        Assert.Equal((MemoryReadResult.Ok, "0304050607"), Read(0x1002, 5));
        Assert.Equal((MemoryReadResult.Ok, "09090909"), Read(ulong.MaxValue - 3, 4));
        Assert.Equal(MemoryReadResult.NotFetched, Read(0x1006, 4).Result);
        Assert.Equal(MemoryReadResult.NotFetched, Read(0xfff, 2).Result);
        Assert.Equal(MemoryReadResult.Unreadable, Read(0x2fff, 1).Result);
        Assert.Equal(MemoryReadResult.NotFetched, Read(0x3000, 1).Result);
        Assert.Equal(MemoryReadResult.Ok, Read(0x3000, 0).Result);
        memory.Clear();
        Assert.Equal(MemoryReadResult.NotFetched, Read(0x1000, 1).Result);
        Assert.Equal(MemoryReadResult.NotFetched, Read(0x2000, 1).Result);

        (MemoryReadResult Result, string Bytes) Read(ulong address, int length)
        {
            var bytes = new byte[length];
            return (memory.Read(address, bytes), Convert.ToHexStringLower(bytes));
        }
    }

    [Theory]
    [InlineData("0f1f440000", 0ul, 5)]
    [InlineData("0f1f44000055", 0ul, 5)]
    [InlineData("e8aabbccdd", 0ul, 0)] // the tracer has made a call of it
    [InlineData("0f1f4400", 0ul, 0)] // cut off by the page's end
    [InlineData("0f1f840000000000", 0ul, 0)]
    [InlineData("f30f1efa", 0ul, 4)]
    [InlineData("f30f1efa", 1ul << 23, 0)] // CET is on
    [InlineData("f30f1efb", 0ul, 0)] // endbr32
    [InlineData("90", 0ul, 0)]
    [InlineData("", 0ul, 0)]
    [InlineData("00000000000000000000", 0ul, 0)]
    [InlineData("3e8d742600", 0ul, 0)] // the i386 one has other operands here
    public void Only_an_instruction_that_does_nothing_is_passed_over(string code, ulong cr4, int length)
    {
        var registers = new RegisterSet(X86_64.Instance);
        registers[X86_64.Cr4] = cr4;
        Assert.Equal(length, NopSkip.LengthAt(Convert.FromHexString(code), registers));
    }

    [Theory]
    [InlineData("3e8d742600", 5)]
    [InlineData("0f1f440000", 5)]
    [InlineData("f30f1efb", 0)]
    [InlineData("5589e5", 0)]
    public void On_i386_too(string code, int length) => Assert.Equal(length, NopSkip.LengthAt(Convert.FromHexString(code), new RegisterSet(I386.Instance)));

    [Fact]
    public void Endbr_is_not_passed_over_when_cr4_is_not_known() =>
        Assert.Equal(0, NopSkip.LengthAt([0xf3, 0x0f, 0x1e, 0xfa], new RegisterSet(X86_64.Instance)));
}
