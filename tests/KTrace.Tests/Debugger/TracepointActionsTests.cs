using KTrace.Debugger;
using KTrace.Debugger.Tracepoints;

namespace KTrace.Tests.Debugger;

public class TracepointActionsTests
{
    [Theory]
    [InlineData("f if a == 1", "a == 1", "", null, null)]
    [InlineData("f print a, b->c", null, "a|b->c", null, null)]
    [InlineData("f if a && b print c, \"x, print\"", "a && b", "c|\"x, print\"", null, null)]
    [InlineData("f return", null, "", null, "$ret")]
    [InlineData("f return print $ret, *msg", null, "", null, "$ret|*msg")]
    [InlineData("f if x print y return if $ret < 0 print z", "x", "y", "$ret < 0", "z")]
    [InlineData("f  if  x   print  y ", "x", "y", null, null)]
    [InlineData("f print returned, printed, iffy", null, "returned|printed|iffy", null, null)]
    public void Words_after_the_place_say_when_and_what(string text, string? condition, string prints, string? returnCondition, string? returnPrints)
    {
        var request = TracepointRequest.Parse(text);

        Assert.Equal("f", request.Symbol);
        Assert.Equal(text.Trim(), request.Text);
        Assert.Equal(condition, request.Actions.Condition?.Text);
        Assert.Equal(prints, string.Join('|', request.Actions.Prints.Select(p => p.Text)));
        Assert.Equal(returnCondition, request.Actions.Return?.Condition?.Text);
        Assert.Equal(returnPrints, request.Actions.Return is { } returning ? string.Join('|', returning.Prints.Select(p => p.Text)) : null);
    }

    [Theory]
    [InlineData("f irqs", true, null)]
    [InlineData("f print irq, irqs_off irqs return", true, false)]
    [InlineData("f if irq == 1 return print irqs irqs", false, true)]
    [InlineData("f print irqs", false, null)]
    public void Interrupts_are_asked_for_by_a_word(string text, bool atHit, bool? atReturn)
    {
        var actions = TracepointRequest.Parse(text).Actions;

        Assert.Equal((atHit, atReturn), (actions.Interrupts, actions.Return?.Interrupts));
    }

    [Theory]
    [InlineData("f", 1, null)]
    [InlineData("f sample 100", 100, null)]
    [InlineData("f first 1000", 1, 1000L)]
    [InlineData("f if sample == first sample 2  first 3 print sample", 2, 3L)]
    [InlineData("irq_* sample 2 return", 2, null)]
    public void Hits_are_counted_by_words(string text, long sample, long? first)
    {
        var actions = TracepointRequest.Parse(text).Actions;

        Assert.Equal((sample, first), (actions.Sample, actions.First));
    }

    [Theory]
    [InlineData("f sample 0", 9, "sample takes a number from 1 to 2147483647, not '0'")]
    [InlineData("f sample", 8, "sample takes a number from 1 to 2147483647")]
    [InlineData("f first -1", 8, "first takes a number from 1 to 2147483647, not '-1'")]
    [InlineData("f first many", 8, "first takes a number from 1 to 2147483647, not 'many'")]
    [InlineData("f sample 99999999999", 9, "first takes", "not '99999999999'")]
    [InlineData("f first 3 sample 2", 10, "'sample' is not expected here")]
    [InlineData("f return sample 2", 9, "'sample' is not expected here")]
    public void A_count_that_is_none_is_pointed_at(string text, int column, string message, string? other = null)
    {
        var e = Assert.Throws<TargetException>(() => TracepointRequest.Parse(text));

        Assert.Contains(other ?? message, e.Message, StringComparison.Ordinal);
        Assert.Equal(column + 2, e.Message.Split('\n')[^1].IndexOf('^', StringComparison.Ordinal));
        Assert.NotNull(e.Remedy);
    }

    [Theory]
    [InlineData("f irqs print a", 7)]
    [InlineData("f if", 4)]
    [InlineData("f if a ==", 9)]
    [InlineData("f print a,", 10)]
    [InlineData("f print a b", 10)]
    [InlineData("f when a", 2)]
    [InlineData("f return return", 9)]
    [InlineData("f print (a", 10)]
    public void What_is_wrong_is_pointed_at(string text, int column)
    {
        var e = Assert.Throws<TargetException>(() => TracepointRequest.Parse(text));

        var lines = e.Message.Split('\n');
        Assert.Equal("  " + text, lines[^2]);
        Assert.Equal(column + 2, lines[^1].IndexOf('^', StringComparison.Ordinal));
        Assert.NotNull(e.Remedy);
    }
}
