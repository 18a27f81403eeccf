import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.Properties;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Joined;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.TimeWindows;

/** Sums, joins, windows and counts, exactly once: `Sums SETTINGS` until it is stopped. */
public final class Sums {
    private static final Serde<String> TEXT = Serdes.String();
    private static final Serde<Long> WHOLE = Serdes.Long();

    public static void main(String[] arguments) throws Exception {
        Properties settings = new Properties();
        try (var file = Files.newBufferedReader(Path.of(arguments[0]))) {
            settings.load(file);
        }
        StreamsBuilder builder = new StreamsBuilder();
        numbers(builder);
        orders(builder);
        words(builder);
        KafkaStreams streams = new KafkaStreams(builder.build(), settings);
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            return StreamThreadExceptionResponse.SHUTDOWN_APPLICATION;
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(Duration.ofSeconds(10))));
        streams.start();
    }

    /** Each number doubled, and the sum of those that are odd. */
    private static void numbers(StreamsBuilder builder) {
        KStream<String, Long> numbers =
            builder.stream("numbers", Consumed.with(TEXT, TEXT)).mapValues(text -> Long.parseLong(text));
        numbers.mapValues(number -> Long.toString(2 * number)).to("doubled", Produced.with(TEXT, TEXT));
        numbers
            .filter((key, number) -> number % 2 == 1)
            .selectKey((key, number) -> "odds")
            .groupByKey(Grouped.with(TEXT, WHOLE))
            .reduce(Long::sum, Materialized.with(TEXT, WHOLE))
            .toStream()
            .mapValues(sum -> Long.toString(sum))
            .to("sums", Produced.with(TEXT, TEXT));
    }

    /** What customers of each region have paid in all, and how many orders there were in each five seconds. */
    private static void orders(StreamsBuilder builder) {
        KTable<String, String> customers = builder.table("customers", Consumed.with(TEXT, TEXT));
        KStream<String, Long> paid =
            builder.stream("orders", Consumed.with(TEXT, TEXT))
                .mapValues(text -> Long.parseLong(text))
                .join(customers, (amount, region) -> region + " " + amount, Joined.with(TEXT, WHOLE, TEXT))
                .selectKey((customer, joined) -> joined.split(" ")[0])
                .mapValues(joined -> Long.parseLong(joined.split(" ")[1]));
        paid.groupByKey(Grouped.with(TEXT, WHOLE))
            .aggregate(() -> 0L, (region, amount, sum) -> sum + amount, Materialized.with(TEXT, WHOLE))
            .toStream()
            .mapValues(sum -> Long.toString(sum))
            .to("revenue", Produced.with(TEXT, TEXT));
        paid.groupByKey(Grouped.with(TEXT, WHOLE))
            .windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofSeconds(5), Duration.ofDays(1)))
            .count(Materialized.with(TEXT, WHOLE))
            .toStream()
            .selectKey((window, count) -> window.key() + "@" + window.window().start())
            .mapValues(count -> Long.toString(count))
            .to("windows", Produced.with(TEXT, TEXT));
    }

    /** How often each word occurs. */
    private static void words(StreamsBuilder builder) {
        builder.stream("text", Consumed.with(TEXT, TEXT))
            .flatMapValues(line -> Arrays.asList(line.toLowerCase().split("\\W+")))
            .filter((key, word) -> !word.isEmpty())
            .groupBy((key, word) -> word, Grouped.with(TEXT, TEXT))
            .count(Materialized.with(TEXT, WHOLE))
            .toStream()
            .mapValues(count -> Long.toString(count))
            .to("counts", Produced.with(TEXT, TEXT));
    }

    private Sums() {}
}
