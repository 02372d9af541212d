using System.Text;
using KTrace.Rsp;

namespace KTrace.Tests.Support;

/// <summary>Plays the stub's part of a recorded transcript: each request must be the recorded one, and gets the recorded replies.</summary>
internal static class ReplayStub
{
    public static FakeStub Start(string transcript)
    {
        var entries = new Queue<TranscriptEntry>(RspTranscript.Read(new StringReader(transcript)));
        IEnumerable<string> Replies()
        {
            while (entries.TryPeek(out var next) && next.Kind is TranscriptEntryKind.Reply)
            {
                yield return Encoding.Latin1.GetString(entries.Dequeue().Payload.Span);
            }
        }

        return new FakeStub
        {
            Otherwise = request =>
            {
                var expected = entries.TryDequeue(out var entry) ? Encoding.Latin1.GetString(entry.Payload.Span) : "(the end)";
                return request == expected ? [.. Replies()] : [$"E.replay: expected {expected}, not {request}"];
            },
            OtherwiseInterrupted = () =>
            {
                if (entries.TryPeek(out var next) && next.Kind is TranscriptEntryKind.Interrupt)
                {
                    entries.Dequeue();
                }

                return [.. Replies()];
            },
        };
    }
}
