using KTrace.Tui.State;
using KTrace.Tui.Targets;

namespace KTrace.Tests.Tui.State;

/// <summary>The hits, their filter and their marks.</summary>
public class TimelineTests
{
    private static readonly HitSummary[] Hits =
    [
        new(1, "request_irq", 0, "swapper/0 pid 0", "....", "0.000", "request_irq < time_init", "irq=0"),
        new(2, "compose_msi", 1, "ifconfig pid 62", "d...", "2.160", "compose_msi < e1000_open", "data=0xff"),
        new(10, "compose_msi", 0, "ifconfig pid 62", "d.h.", "2.170", "compose_msi < e1000_open", "data=0xee"),
    ];

    [Theory]
    [InlineData("msi", "2,10")]
    [InlineData("MSI cpu:1", "2")]
    [InlineData("-msi", "1")]
    [InlineData("task:ifconfig -cpu:1", "10")]
    [InlineData("path:time_init", "1")]
    [InlineData("args:0xee", "10")]
    [InlineData("context:h", "10")]
    [InlineData("clock:2.1", "2,10")]
    [InlineData("place:request", "1")]
    [InlineData("#2", "2")]
    [InlineData("#2-", "2,10")]
    [InlineData("#1-2", "1,2")]
    [InlineData("-#1-2", "10")]
    [InlineData("nothing", "")]
    [InlineData("unknown:msi", "")]
    [InlineData("", "1,2,10")]
    [InlineData("#", "")]
    public void A_filter_lets_through_what_it_says(string text, string expected)
    {
        var whole = Timeline.Empty.Add([.. Hits]).FilteredBy(HitFilterText.Parse(text));
        Assert.Equal(expected, Numbers(whole));

        // Hits that come later are filtered as well.
        var growing = Hits.Aggregate(Timeline.Empty.FilteredBy(HitFilterText.Parse(text)), (t, h) => t.Add([h]));
        Assert.Equal(expected, Numbers(growing));
        Assert.Equal("1,2,10", Numbers(whole.FilteredBy(null)));
    }

    [Fact]
    public void The_third_mark_takes_the_first_away()
    {
        var marks = Timeline.Empty.ToggleMark(1).ToggleMark(2).ToggleMark(10).Marks;
        Assert.Equal([2L, 10L], marks.ToArray());
        Assert.Equal([10L], Timeline.Empty.ToggleMark(1).ToggleMark(10).ToggleMark(1).Marks.ToArray());
    }

    [Fact]
    public void A_hit_is_found_by_its_number()
    {
        var timeline = Timeline.Empty.Add([.. Hits]);
        Assert.Equal(2, timeline.RowOf(10));
        Assert.Equal(-1, timeline.RowOf(3));
        Assert.Equal(0, timeline.FilteredBy(HitFilterText.Parse("#2-")).RowOf(2));
    }

    private static string Numbers(Timeline timeline) => string.Join(',', Enumerable.Range(0, timeline.Count).Select(i => timeline[i].Sequence));
}
