using System.Diagnostics;
using KTrace.Tracing;

namespace KTrace.Tests.Tracing;

public class TraceWriterTests
{
    [Fact]
    public void Every_record_is_in_the_file_before_Write_returns()
    {
        using var folder = new TemporaryFolder();
        string file = folder["a.ktrace"];
        using var writer = new TraceWriter(file);
        int written = 0;
        foreach (TraceRecord record in GdbReference.Records())
        {
            writer.Write(record);
            written++;

            // The file is open for writing all the time, as during a recording.
            using TraceReader reader = TraceReader.Open(file);
            Assert.Equal(written, reader.ReadAll().Count());
            Assert.False(reader.Truncated);
        }

        Assert.Equal(19, writer.Hits);
    }

    [Fact]
    public void A_device_that_is_full_is_a_declared_exception()
    {
        using var writer = new TraceWriter("/dev/full");

        TraceWriteException e = Assert.Throws<TraceWriteException>(() => writer.Write(TraceSamples.Header()));

        Assert.Equal(0, e.SafeHits);
        Assert.Contains("/dev/full: cannot write: ", e.Message);
        Assert.Contains("no hit was written", e.Message);
        Assert.Same(e, Assert.Throws<TraceWriteException>(() => writer.Write(TraceSamples.Header())));
        Assert.Same(e, Assert.Throws<TraceWriteException>(() => writer.WriteConsole("a"u8)));
    }

    [SkippableFact]
    public void A_full_disk_leaves_all_complete_records_and_says_how_many_hits_are_safe()
    {
        using var folder = new TemporaryFolder();
        // Only root may mount; /dev/full above is the same error without a file that could be kept.
        Skip.IfNot(Run("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder.FullName), "mounting a small tmpfs needs root");
        try
        {
            string file = folder["a.ktrace"];
            using var writer = new TraceWriter(file);
            writer.Write(GdbReference.Header);

            TraceWriteException e = Assert.Throws<TraceWriteException>(() =>
            {
                for (int i = 0; i < 10_000; i++)
                {
                    writer.Write(GdbReference.Hits[i % 19] with { Sequence = i + 1 });
                }
            });

            Assert.InRange(e.SafeHits, 5, 1000);
            Assert.Equal(writer.Hits, e.SafeHits);
            Assert.Contains("space", e.Message);
            using TraceReader reader = TraceReader.Open(file);
            Assert.Equal(e.SafeHits, reader.ReadAll().Count(record => record is TraceRecord.Hit));
            Assert.False(reader.Truncated, "the incomplete line was taken away");
        }
        finally
        {
            Assert.True(Run("umount", "-l", folder.FullName));
        }
    }

    [Fact]
    public void What_a_reader_would_refuse_is_refused_and_leaves_the_file_as_it_was()
    {
        using var folder = new TemporaryFolder();
        string file = folder["a.ktrace"];
        using (var writer = new TraceWriter(file))
        {
            Assert.Throws<InvalidOperationException>(() => writer.Write(new TraceRecord.Note("before the header")));
            Assert.Throws<InvalidOperationException>(() => writer.WriteConsole("before the header\n"u8));
            writer.Write(TraceSamples.Header(new TraceTracepoint(1, "f", "f")));
            Assert.Throws<InvalidOperationException>(() => writer.Write(TraceSamples.Header()));
            CallPath path = TraceSamples.Path("a", "b");
            writer.Write(TraceSamples.Hit(2, 1, path));
            Assert.Throws<ArgumentException>(() => writer.Write(TraceSamples.Hit(2, 1, path)));
            Assert.Throws<ArgumentException>(() => writer.Write(TraceSamples.Hit(3, 9, path)));
            Assert.Throws<ArgumentException>(() => writer.Write(TraceSamples.Hit(3, 1, path) with { Pcs = [1] }));
            Assert.Throws<ArgumentException>(() => writer.Write(new TraceRecord.Note(new string('a', 5 << 20))));
            Assert.Throws<ArgumentException>(() => writer.Write(TraceSamples.Hit(3, 1, TraceSamples.Path("new", new string('a', 5000)))));
            // The frame called new was not written with the hit that was refused, so it must be now.
            writer.Write(TraceSamples.Hit(3, 1, TraceSamples.Path("new")));
            writer.Write(new TraceRecord.End(2, "done", 1));
            Assert.Throws<InvalidOperationException>(() => writer.Write(new TraceRecord.Note("after the end")));
        }

        using TraceReader reader = TraceReader.Open(file);
        Assert.Equal(["a", "new"], reader.ReadAll().OfType<TraceRecord.Hit>().Select(hit => hit.Path.Frames[0].Function));
        Assert.Null(reader.Incomplete);
    }

    [Fact]
    public void Records_and_console_text_may_come_from_several_threads()
    {
        using var folder = new TemporaryFolder();
        string file = folder["a.ktrace"];
        using (var writer = new TraceWriter(file))
        {
            writer.Write(TraceSamples.Header(new TraceTracepoint(1, "f", "f")));
            Parallel.Invoke(
                () =>
                {
                    for (int i = 1; i <= 500; i++)
                    {
                        writer.Write(TraceSamples.Hit(i, 1, TraceSamples.Path("f" + i)));
                    }
                },
                () =>
                {
                    for (int i = 0; i < 500; i++)
                    {
                        writer.WriteConsole("line\n"u8);
                    }
                });
        }

        using TraceReader reader = TraceReader.Open(file);
        Assert.Equal(1001, reader.ReadAll().Count());
    }

    [Fact]
    public void A_hit_whose_path_is_known_allocates_nothing()
    {
        using var folder = new TemporaryFolder();
        using var writer = new TraceWriter(folder["a.ktrace"]);
        writer.Write(GdbReference.Header);
        TraceRecord.Hit[] hits = [.. Enumerable.Range(0, 200).Select(i => GdbReference.Hits[18] with { Sequence = i + 1 })];
        foreach (TraceRecord.Hit hit in hits[..100])
        {
            writer.Write(hit);
        }

        long before = GC.GetAllocatedBytesForCurrentThread();
        foreach (TraceRecord.Hit hit in hits[100..])
        {
            writer.Write(hit);
        }

        Assert.InRange((GC.GetAllocatedBytesForCurrentThread() - before) / 100, 0, 64);
    }

    private static bool Run(string program, params string[] arguments)
    {
        try
        {
            using Process process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardError = true })!;
            process.WaitForExit();
            return process.ExitCode == 0;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return false;
        }
    }
}
